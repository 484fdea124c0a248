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


def configuration(settings: Settings, ending: str, best: dict[str, dict[str, float]], *, tracts: int) -> str:
    """Return the text of ``city.yaml``.

    Parameters
    ----------
    settings
        What was made.
    ending
        Of the names of files with points and polygons.
    best
        R2 of labels of ``regions`` and metrics of their ``function`` that can be reached at best.
    tracts
        How many label polygons there are that are larger than regions.
    """
    several = settings.cities > 1
    points = {
        "path": f"pois.{ending}",
        "first_level": "category",
        "second_level": "subcategory",
        "area": f"area.{ending}",
    }
    content = {
        "name": f"Made {'cities' if several else 'city'} of seed {settings.seed}",
        "output": "output",
        "seed": settings.seed,
        "images": {"path": "images"},
        "regions": _regions(settings, ending),
        "pois": {"sources": [points]} | ({"outside": "drop"} if settings.dirt.outside else {}),
        "pretrain": {"recipe": "mmgr", "crop": settings.pixels - settings.pixels // 8},
        "tasks": _tasks(settings, ending, tracts),
        "notes": [_note(settings, best)],
    }
    return _HEAD + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)


def _regions(settings: Settings, ending: str) -> dict[str, Any]:
    if settings.layout == "scattered":
        return {
            "kind": "footprints", "path": f"places.{ending}", "id": "place", "group": "city", "pixels": settings.pixels
        }  # fmt: skip
    group = {"group": "folder"} if settings.cities > 1 else {}
    return {"kind": "grid", "size": settings.edge, **group, "pixels": settings.pixels}


def _tasks(settings: Settings, ending: str, tracts: int) -> list[dict[str, Any]]:
    """Return the labels of regions, and the population of tracts where there are enough of them."""
    contiguous = settings.layout == "contiguous"
    places = f"places.{ending}"
    tasks: list[dict[str, Any]] = []
    for amount in AMOUNTS:
        if contiguous:
            place = {"path": f"{amount.name}.tif", "kind": "raster_sum"}
        else:
            place = {"path": places, "kind": "polygon_total", "column": amount.name, "units": "regions"}
        tasks.append({"name": amount.name, **place, "unit": amount.unit})
    path = f"land_use.{ending}" if contiguous else places
    shares = {"path": path, "kind": "polygon_shares", "columns": list(LAND_USES), "units": "regions"}
    tasks.append({"name": "function", **shares})
    population = AMOUNTS[0]
    polygons = {"path": f"tracts.{ending}", "kind": "polygon_total", "column": population.name, "id": "tract"}
    if tracts >= FEWEST_TRACTS:
        tasks.append({"name": f"{population.name}_of_tracts", **polygons, "units": "polygons", "unit": population.unit})
    return tasks


def _note(settings: Settings, best: dict[str, dict[str, float]]) -> str:
    numbers = ", ".join(f"{amount.name} {best['regions'][amount.name]:.3f}" for amount in AMOUNTS)
    shares = ", ".join(f"{name} {value:.3f}" for name, value in best["function"].items())
    return (
        f"These cities were made by mmgr synth (seed {settings.seed}), not observed. The noise of their labels allows "
        f"no higher R2 than this: {numbers}; and of the function no better than this: {shares}."
    )
