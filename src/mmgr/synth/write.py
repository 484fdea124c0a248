"""Write made cities as the files that a user has, with a configuration that runs and the truth beside."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import rasterio
from affine import Affine

from mmgr import __version__
from mmgr.errors import InputError
from mmgr.files import check_place, write_aside, write_json
from mmgr.synth.city import FACTORS, NUISANCES, year_of
from mmgr.synth.configuration import configuration
from mmgr.synth.fields import RANGE_IN_SCALES, WAVES
from mmgr.synth.images import write_images
from mmgr.synth.labels import AMOUNTS, LABELS, LAND_USES, LOGIT_WEIGHTS, LOGITS
from mmgr.synth.made import MadeCities, make_city
from mmgr.synth.places import CRS
from mmgr.synth.poi_process import BY_CHANCE, BY_HUMAN, BY_SHARED, FIRST_LEVELS, MIX, RATE
from mmgr.synth.settings import Settings

SCHEMA = 1


def write_city(folder: str | Path, settings: Settings, *, vectors: str = "geojson") -> MadeCities:
    """Make cities and write them into a new folder: images, POIs, labels, ``city.yaml``, and the truth.

    Parameters
    ----------
    folder
        Where to; it appears when it is complete.
    settings
        What is made.
    vectors
        Format of points and polygons: ``geojson``, in degrees, or ``parquet``: GeoParquet in metres, for many.

    Returns
    -------
    What was made.

    Raises
    ------
    InputError
        If the folder is there and not empty, or is a file, or there is no such format.
    StorageError
        If it cannot be made or written.
    """
    if vectors not in {"geojson", "parquet"}:
        raise InputError(f"points and polygons are written as `geojson` or `parquet`, not {vectors!r}; set --vectors.")
    folder = Path(folder).absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists and is not an empty folder; name a new one for the made city.")
    check_place(folder, instead="name another folder")
    made = make_city(settings)
    with write_aside(folder) as aside:
        aside.mkdir()
        write_images(aside / "images", made)
        outlines = {"city": [city.name for city in made.cities]}
        tracts, ceilings_of_tracts = made.tracts()
        tables = {
            "pois": made.pois(),
            "area": gpd.GeoDataFrame(outlines, geometry=[site.outline for site in made.sites], crs=CRS),
            "tracts": tracts,
        }
        if settings.layout == "contiguous":
            _write_rasters(aside, made)
            tables["land_use"] = _labels_of_regions(made, "cell")[["cell", "city", *LAND_USES, "geometry"]]
        else:
            tables["places"] = _labels_of_regions(made, "place")
        for name, table in tables.items():
            _write_table(table, aside / f"{name}.{vectors}")
        made.truth.to_parquet(aside / "truth.parquet")
        best = {"regions": made.ceilings(), "tracts": ceilings_of_tracts, "function": made.function_at_best()}
        write_json(aside / "truth.json", _facts(made, best))
        text = configuration(settings, vectors, best, tracts=len(tracts))
        (aside / "city.yaml").write_text(text, encoding="utf-8")
    return made


def _write_table(frame: gpd.GeoDataFrame, path: Path) -> None:
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        # 9 decimals of a degree are a tenth of a millimetre: a square that shares an edge with a region keeps it
        frame.to_crs(4326).to_file(path, driver="GeoJSON", COORDINATE_PRECISION=9, RFC7946="NO")


def _labels_of_regions(made: MadeCities, name: str) -> gpd.GeoDataFrame:
    """Return the regions, their ids in a column of a name, with their labels: totals of amounts, and shares."""
    truth = made.truth
    columns = {label: truth[f"{label}_noisy"].to_numpy() for label in LABELS}
    km2 = made.settings.edge**2 / 1e6
    columns |= {amount.name: columns[amount.name] * km2 for amount in AMOUNTS}
    return gpd.GeoDataFrame(
        {name: truth.index, "city": truth["city"].to_numpy(), **columns}, geometry=truth.geometry.to_numpy(), crs=CRS
    )


def _write_rasters(folder: Path, made: MadeCities) -> None:
    """Write a raster of each amount, one cell a region; empty between cities."""
    edge = made.settings.edge
    west, north = min(site.west for site in made.sites), max(site.north for site in made.sites)
    corners = [site.outline.bounds for site in made.sites]
    width = round((max(bounds[2] for bounds in corners) - west) / edge)
    height = round((north - min(bounds[1] for bounds in corners)) / edge)
    profile: dict[str, Any] = {
        "driver": "GTiff", "dtype": "float32", "width": width, "height": height, "crs": CRS, "nodata": np.nan,
        "transform": Affine(edge, 0, west, 0, -edge, north), "compress": "DEFLATE", "sparse_ok": True,
        "tiled": True, "blockxsize": 256, "blockysize": 256,
    }  # fmt: skip
    for amount in AMOUNTS:
        with rasterio.open(folder / f"{amount.name}.tif", "w", count=1, **profile) as raster:
            for city, site in zip(made.cities, made.sites, strict=True):
                window = rasterio.windows.Window(
                    round((site.west - west) / edge), round((north - site.north) / edge), site.columns, site.rows
                )
                density = made.truth.loc[made.truth["city"] == city.name, f"{amount.name}_noisy"].to_numpy()
                cells = np.full(site.columns * site.rows, np.nan, np.float32)
                cells[: site.regions] = density * edge * edge / 1e6
                raster.write(cells.reshape(site.rows, site.columns), 1, window=window)


def _facts(made: MadeCities, best: dict[str, dict[str, float]]) -> dict[str, Any]:
    settings = made.settings
    return {
        "schema_version": SCHEMA,
        "software": __version__,
        "settings": asdict(settings),
        "crs": CRS,
        "factors": {
            "names": FACTORS,
            "nuisances": [*NUISANCES, *(f"light_{year_of(date)}" for date in range(settings.dates))],
            "covariance": "Matern 3/2: (1 + sqrt(3) r / l) exp(-sqrt(3) r / l), variance 1",
            "practical_range_m": settings.reach,
            "scale_l_m": settings.reach / RANGE_IN_SCALES,
            "waves": WAVES,
            "means": {
                city.name: dict(zip(FACTORS, city.fields.means[: len(FACTORS)].round(6).tolist(), strict=True))
                for city in made.cities
            },
        },
        "labels": {
            **{
                amount.name: {"level": amount.level, "weights": dict(zip(FACTORS, amount.weights, strict=True))}
                for amount in AMOUNTS
            },
            **{
                name: {"logit": float(level), "weights": dict(zip(FACTORS, weights.tolist(), strict=True))}
                for name, level, weights in zip(LAND_USES, LOGITS, LOGIT_WEIGHTS, strict=True)
            },
        },
        "pois": {
            "rate_per_km2": RATE,
            "weights": {"human": BY_HUMAN, "shared": BY_SHARED},
            "spread_of_cells": BY_CHANCE,
            "mix": dict(zip(FIRST_LEVELS, MIX.tolist(), strict=True)),
        },
        "looks": {
            city.name: {str(year_of(date)): look._asdict() for date, look in enumerate(city.looks)}
            for city in made.cities
        },
        "r2_ceiling": {
            "expected_of_log_amounts": settings.ceiling,
            "regions": best["regions"],
            "tracts": best["tracts"],
        },
        "function_at_best": best["function"],
    }
