"""The configuration of a made city, ready for `mmgr run`."""

from __future__ import annotations

from typing import Any

import yaml

from mmgr.synth.labels import AMOUNTS, LAND_USES
from mmgr.synth.settings import Settings

FEWEST_TRACTS = 30
"""Tracts that are worth a task: some for each fold."""
_HEAD = """\
# A made city: what is true of it is in truth.parquet (by region) and truth.json (formulas, ceilings of R2).
# Run it with `mmgr run city.yaml`.
"""


def configuration(settings: Settings, pois: str, ceilings: dict[str, dict[str, float]], *, tracts: int) -> str:
    """Return the text of ``city.yaml``.

    Parameters
    ----------
    settings
        What was made.
    pois
        Name of the file of POIs.
    ceilings
        R2 that can be reached at best, by label, for ``regions`` and for ``tracts``.
    tracts
        How many label polygons there are that are larger than regions.
    """
    several = settings.cities > 1
    points = {"path": pois, "first_level": "category", "second_level": "subcategory", "area": "area.geojson"}
    content = {
        "name": f"Made {'cities' if several else 'city'} of seed {settings.seed}",
        "output": "output",
        "seed": settings.seed,
        "images": {"path": "images"},
        "regions": _regions(settings),
        "pois": {"sources": [points]} | ({"outside": "drop"} if settings.dirt.outside else {}),
        "pretrain": {"recipe": "mmgr", "encoder": "resnet18", "crop": settings.pixels - settings.pixels // 8},
        "tasks": _tasks(settings, tracts),
        "notes": [_note(settings, ceilings)],
    }
    return _HEAD + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)


def _regions(settings: Settings) -> dict[str, Any]:
    if settings.layout == "scattered":
        return {
            "kind": "footprints", "path": "places.geojson", "id": "place", "group": "city", "pixels": settings.pixels
        }  # fmt: skip
    group = {"group": "folder"} if settings.cities > 1 else {}
    return {"kind": "grid", "size": settings.edge, **group, "pixels": settings.pixels}


def _tasks(settings: Settings, tracts: int) -> list[dict[str, Any]]:
    """Return the labels of regions, and the population of tracts where there are enough of them."""
    tasks: list[dict[str, Any]] = []
    place: dict[str, Any]
    for amount in AMOUNTS:
        if settings.layout == "contiguous":
            place = {"path": f"{amount.name}.tif", "kind": "raster_sum"}
        else:
            place = {"path": "places.geojson", "kind": "polygon_total", "column": amount.name, "units": "regions"}
        tasks.append({"name": amount.name, **place, "unit": amount.unit})
    for number, name in enumerate(LAND_USES, 1):
        if settings.layout == "contiguous":
            place = {"path": "land_use.tif", "kind": "raster_mean", "band": number}
        else:
            place = {"path": "places.geojson", "kind": "polygon_rate", "column": name, "units": "regions"}
        tasks.append({"name": name, **place, "unit": "share"})
    population = AMOUNTS[0]
    polygons = {"path": "tracts.geojson", "kind": "polygon_total", "column": population.name, "id": "tract"}
    if tracts >= FEWEST_TRACTS:
        tasks.append({"name": f"{population.name}_of_tracts", **polygons, "units": "polygons", "unit": population.unit})
    return tasks


def _note(settings: Settings, ceilings: dict[str, dict[str, float]]) -> str:
    best = ", ".join(f"{name} {value:.2f}" for name, value in ceilings["regions"].items())
    return (
        f"These cities were made by mmgr synth (seed {settings.seed}), not observed. No method can reach a higher R2 "
        f"than the noise of the labels allows: {best}."
    )
