"""Measure what images and POIs of made cities tell of their factors, and write it into docs/synth.md.

Usage: python scripts/make_synth_doc.py [docs/synth.md]

What stands between the two marks of the page is replaced; the picture is written beside it, into images/synth.jpg.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmgr.evaluate.probes import ridge_probe
from mmgr.evaluate.splits import SpatialBlocks
from mmgr.synth import City, MadeCities, Settings, make_city
from mmgr.synth.city import FACTORS
from mmgr.synth.poi_process import FIRST_LEVELS

BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"
REGIONS, SEEDS = 2000, (1, 2, 3)
SCALES = (1, 2, 4, 8)


def main() -> None:
    """Replace what stands between the marks, and draw the picture."""
    page = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/synth.md")
    text = page.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN, 1)
    page.write_text(f"{head}{BEGIN}\n\n{figures()}\n{END}{rest.split(END, 1)[1]}", encoding="utf-8")
    draw(page.parent / "images" / "synth.jpg")


def figures() -> str:
    """Return the table of R2 and the speed of drawing."""
    scores: dict[tuple[str, str], list[float]] = {}
    speeds, counts = [], []
    for seed in SEEDS:
        made = make_city(Settings(regions=REGIONS, cities=2, seed=seed))
        made.patch(0)
        start = time.process_time()
        patches = np.stack([made.patch(row) for row in range(REGIONS)])
        speeds.append(REGIONS / (time.process_time() - start))
        pois = poi_counts(made)
        counts.append(pois.sum(axis=1))
        for (target, feature), value in score(made, patches, pois).items():
            scores.setdefault((target, feature), []).append(value)
    features = list(dict.fromkeys(feature for _, feature in scores))
    targets = list(dict.fromkeys(target for target, _ in scores))
    count = np.concatenate(counts)
    rows = [
        f"| {target} | " + " | ".join(f"{np.mean(scores[target, feature]):.2f}" for feature in features) + " |"
        for target in targets
    ]
    spread = max(float(np.std(values)) for values in scores.values())
    seeds = ", ".join(map(str, SEEDS))
    intro = (
        f"{REGIONS:,} regions of 128 m in two cities, means over seeds {seeds} (standard deviation at "
        f"most {spread:.2f}); ridge regression, five folds of spatial blocks as wide as the practical range, a "
        "buffer of one region."
    )
    facts = (
        f"A region holds {np.median(count):.0f} POIs in the median, {np.quantile(count, 0.9):.0f} at the ninth decile, "
        f"and {100 * (count == 0).mean():.0f} % hold none. Patches of 128 pixels were drawn one by one at "
        f"{np.mean(speeds):.0f} a second of one core's time."
    )
    header = ["| R2 of | " + " | ".join(features) + " |", "|---|" + "---:|" * len(features)]
    return "\n".join([intro, "", *header, *rows, "", facts, ""])


def score(made: MadeCities, patches: NDArray[np.uint8], pois: NDArray[np.int64]) -> dict[tuple[str, str], float]:
    """Return R2 of each target from each kind of feature, on held-out blocks."""
    truth = made.truth
    colours = patches.mean(axis=(1, 2))
    texture = np.vstack([statistics(patches[start : start + 200]) for start in range(0, len(patches), 200)])
    densities = np.log1p(np.hstack([pois, pois.sum(axis=1, keepdims=True)]))
    features = {
        "the factors": truth[["built", "human", "shared"]].to_numpy(),
        "mean colours": colours,
        "image statistics": texture,
        "POI counts": densities,
        "image statistics + POI counts": np.hstack([texture, densities]),
    }
    targets = {name: truth[name].to_numpy() for name in ("built", "human", "shared")}
    targets |= {name: np.log1p(truth[f"{name}_noisy"].to_numpy()) for name in ("population", "economy")}
    targets |= {name: truth[f"{name}_noisy"].to_numpy() for name in ("housing", "business", "green")}
    centres = np.stack([truth.geometry.centroid.x, truth.geometry.centroid.y], axis=1)
    result = {}
    for target, values in targets.items():
        for feature, table in features.items():
            predicted = np.empty(len(values))
            split = SpatialBlocks(centres, block=made.settings.reach, folds=5, buffer=made.settings.edge)
            for train, test in split.split(table):
                predicted[test] = ridge_probe().fit(table[train], values[train]).predict(table[test])
            left = np.sum((values - predicted) ** 2) / np.sum((values - values.mean()) ** 2)
            result[target, feature] = float(1 - left)
        if f"{target}_noisy" in truth:
            result[target, "ceiling"] = made.ceilings()[target]
        else:
            result[target, "ceiling"] = 1.0
    return result


def statistics(patches: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return colours, quantiles of brightness, and contrasts at several scales, shape ``(n, 27)``."""
    bright = patches.mean(axis=3)
    count, size = bright.shape[:2]
    parts = [patches.mean(axis=(1, 2)), patches.std(axis=(1, 2))]
    parts.append(np.quantile(bright.reshape(count, -1)[:, ::7], [0.05, 0.25, 0.5, 0.75, 0.95], axis=1).T)
    for scale in SCALES:
        coarse = bright.reshape(count, size // scale, scale, size // scale, scale).mean(axis=(2, 4))
        across = np.abs(bright[:, :, scale:] - bright[:, :, :-scale]).mean(axis=(1, 2))
        along = np.abs(bright[:, scale:] - bright[:, :-scale]).mean(axis=(1, 2))
        parts.append(np.stack([across, along, coarse.std(axis=(1, 2))], axis=1))
    return np.hstack(parts)


def poi_counts(made: MadeCities) -> NDArray[np.int64]:
    """Return the POIs in each region by first level, shape ``(regions, 8)``."""
    inside = gpd.sjoin(made.pois(), made.truth[["geometry"]].reset_index(), predicate="within")
    table = inside.groupby(["region_id", "category"]).size().unstack(fill_value=0)
    return np.asarray(table.reindex(index=made.truth.index, columns=list(FIRST_LEVELS), fill_value=0).to_numpy())


def draw(path: Path) -> None:
    """Draw a part of a mosaic, and beside it one place with less and more of each factor, and at four dates."""
    city = make_city(Settings(regions=3600, seed=5, dates=4)).cities[0]
    mosaic = city.image(300, 200, 776, 3 * 132)
    rows = [
        np.hstack([framed(more(city, factor, amount).image(520, 260, 128, 128)) for amount in (-2, -0.7, 0.7, 2)])
        for factor in ("built", "shared")
    ]
    rows.append(np.hstack([framed(city.image(520, 260, 128, 128, date=date)) for date in range(4)]))
    gap = np.full((len(mosaic), 6, 3), 255, np.uint8)
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.hstack([mosaic, gap, np.vstack(rows)])).save(path, quality=80, optimize=True)


def more(city: City, factor: str, amount: float) -> City:
    """Return the same city with a factor raised everywhere."""
    means = city.fields.means.copy()
    means[FACTORS.index(factor)] += amount
    return replace(city, fields=replace(city.fields, means=means))


def framed(patch: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a patch with a white edge."""
    return np.pad(patch, ((2, 2), (2, 2), (0, 0)), constant_values=255)


if __name__ == "__main__":
    main()
