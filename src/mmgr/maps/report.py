"""The report of a run: one HTML file that needs neither network nor any other file."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

import mmgr
from mmgr.evaluate import IntervalScore
from mmgr.evaluate.audit import Audit
from mmgr.files import write_aside
from mmgr.maps.charts import loss_curves, observed_predicted, score_figure
from mmgr.maps.class_charts import observed_predicted_classes
from mmgr.maps.curve_charts import label_curve_figure
from mmgr.maps.explorer import MOST_REGIONS, Explorer
from mmgr.maps.images import patch_uri, png_uri
from mmgr.maps.reliance import applicability_sentence, interval_rows
from mmgr.maps.score_tables import difference_rows, score_tables
from mmgr.maps.summary import Headline, headlines, monitor_sentences, signed, tally, title_of

_PATCH_EDGE = 160
_ALIKE_EDGE = 112


@dataclass(frozen=True, slots=True)
class MapImage:
    """A map to show."""

    title: str
    caption: str
    png: bytes | Path


@dataclass(frozen=True, slots=True)
class Alike:
    """A region whose vector is like an example's."""

    region: str
    similarity: float
    patch: NDArray[np.uint8] | None
    """Shape ``(H, W, C)``; None without image."""


@dataclass(frozen=True, slots=True)
class Example:
    """A region and those most like it."""

    region: str
    patch: NDArray[np.uint8] | None
    alike: Sequence[Alike]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportContent:
    """Everything that a report says. A part that is empty or None is left out of the page."""

    title: str
    regions: int
    """How many regions have a vector."""
    learned_from: str = "images and points of interest"
    """What the vectors were learned from, in words."""
    facts: Sequence[tuple[str, str]] = ()
    """Label and value of what was done, for the first screen."""
    notes: Sequence[str] = ()
    """Sentences on what the data cannot show."""
    scores: pd.DataFrame | None = None
    """``task, split, features, probe, n_units, scale, optimistic``, and each metric under its name, with ``_std``,
    ``_folds`` and ``_folds_std``; ``metric`` names the one that methods are compared by (R2 without it), and
    ``offsets`` how many groups have an offset. A row for each feature set and probe."""
    differences: pd.DataFrame | None = None
    """``task, split, metric, features, other, difference, low, high, p, pairs``, paired by fold and seed."""
    curves: pd.DataFrame | None = None
    """As ``scores``, with the column ``fraction``: what parts of the training labels are worth."""
    main_features: str = ""
    """The feature set that the run is about."""
    baselines: Sequence[str] = ()
    """Feature sets that it is compared with."""
    predictions: pd.DataFrame | None = None
    """Held-out ``task, observed, predicted``, and ``class`` where a row is the share of one class; where ``split``,
    ``features``, ``probe`` or ``seed`` are given too, those of the main feature set are drawn, under the split of the
    headline."""
    units: Mapping[str, str] = field(default_factory=dict)
    """Unit of each task's values."""
    intervals: Sequence[IntervalScore] = ()
    """How often prediction intervals held for held-out units."""
    applicability: Sequence[Mapping[str, Any]] = ()
    """How many regions are unlike the labelled ones, see :meth:`mmgr.evaluate.Applicability.facts`."""
    audit: Audit | None = None
    """The leakage audit."""
    monitor: pd.DataFrame | None = None
    """What pre-training logged by epoch, see :func:`mmgr.maps.charts.loss_curves`."""
    maps: Sequence[MapImage] = ()
    explorer: Explorer | None = None
    neighbours: Sequence[Example] = ()
    category_figure: bytes | Path | None = None
    category_neighbours: Sequence[tuple[str, Sequence[str]]] = ()
    """Each category and those most like it."""
    coverage: Sequence[tuple[str, str]] = ()
    """Label and value of what the inputs cover."""
    set_aside: Sequence[tuple[str, str]] = ()
    """Files that could not be used, and why."""
    attribution: Sequence[str] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Software, seed, hashes, times: values, mappings of values, or text of several lines."""


def write_report(path: Path, content: ReportContent) -> Path:
    """Write the report as one self-contained HTML file, whole or not at all."""
    page = render_report(content)
    with write_aside(path) as aside:
        aside.write_text(page, encoding="utf-8")
    return path


def render_report(content: ReportContent) -> str:
    """Return the report's HTML.

    The page forbids itself any network access (its content security policy) and runs no script
    but its own.
    """
    environment = Environment(
        loader=PackageLoader("mmgr.maps", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    scores = content.scores if content.scores is not None and len(content.scores) else None
    curves = content.curves if content.curves is not None and len(content.curves) else None
    monitor = content.monitor if content.monitor is not None and len(content.monitor) else None
    found = [] if scores is None else headlines(
        scores, main=content.main_features, baselines=content.baselines, differences=content.differences
    )  # fmt: skip
    script = _own_file("explorer.js")
    return environment.get_template("report.html").render(
        content=content,
        version=mmgr.__version__,
        # our own files, which hold no input
        css=Markup(_own_file("report.css")),  # noqa: S704 - a file of this package
        script=Markup(script),  # noqa: S704 - a file of this package
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        headlines=_by_task(found),
        tally=tally(found),
        signed=signed,
        title_of=title_of,
        differences=difference_rows(content.differences, found),
        score_figure=None if scores is None else png_uri(score_figure(scores, main=content.main_features)),
        score_tables=[] if scores is None else score_tables(scores, content.main_features, content.baselines),
        scatters=_scatters(content, found),
        curve_figure=None if curves is None else png_uri(label_curve_figure(curves, main=content.main_features)),
        curve_note="" if curves is None else f"{curves['probe'].iloc[0]}, split {curves['split'].iloc[0]}",
        interval_rows=interval_rows(content.intervals, content.units),
        interval_labels={score.label for score in content.intervals},
        applicability=[applicability_sentence(facts) for facts in content.applicability],
        loss_figure=None if monitor is None else png_uri(loss_curves(monitor)),
        loss_notes=[] if monitor is None else monitor_sentences(monitor),
        map_images=[(image.title, image.caption, png_uri(image.png)) for image in content.maps],
        explorer=content.explorer.payload() if content.explorer is not None and content.explorer.fits else None,
        explorer_left_out=_explorer_left_out(content.explorer),
        neighbours=[_example(example) for example in content.neighbours],
        category_figure=None if content.category_figure is None else png_uri(content.category_figure),
        provenance=_provenance(content.provenance),
    )


def _own_file(name: str) -> str:
    return files("mmgr.maps").joinpath("templates", name).read_text(encoding="utf-8")


def _by_task(found: Sequence[Headline]) -> list[tuple[str, list[Headline]]]:
    return [(task, [h for h in found if h.task == task]) for task in dict.fromkeys(h.task for h in found)]


def _explorer_left_out(explorer: Explorer | None) -> str:
    if explorer is None or len(explorer.regions) <= MOST_REGIONS:
        return ""
    return (
        f"The interactive map is left out: it holds up to {MOST_REGIONS:,} regions, and there are "
        f"{len(explorer.regions):,}. Open the map files in QGIS instead."
    )


def _scatters(content: ReportContent, found: Sequence[Headline]) -> list[tuple[str, str]]:
    """Draw observed against predicted for each task, as title and data URI."""
    frame = content.predictions
    if frame is None or frame.empty or not found:
        return []
    drawn = []
    for task, rows in frame.groupby("task", sort=False) if "task" in frame else [("", frame)]:
        headline = next((h for h in found if h.task == task), None)
        wanted = {} if headline is None else {
            "split": headline.split, "features": headline.main.features, "probe": headline.main.probe
        }  # fmt: skip
        for column, value in wanted.items():
            if column in rows and (rows[column] == value).any():
                rows = rows[rows[column] == value]  # noqa: PLW2901 - narrowed column by column
        if "seed" in rows:
            rows = rows[rows["seed"] == rows["seed"].iloc[0]]  # noqa: PLW2901 - one seed: each unit once
        unit = content.units.get(str(task), "")
        title = f"{task}, {headline.split}" if headline else str(task)
        of_classes = "class" in rows and (rows["class"] != "").any()
        png = observed_predicted_classes(rows, title=title) if of_classes else observed_predicted(
            rows, unit=unit, title=title
        )  # fmt: skip
        drawn.append((title, png_uri(png)))
    return drawn


def _example(example: Example) -> dict[str, Any]:
    return {
        "region": example.region,
        "image": None if example.patch is None else patch_uri(example.patch, edge=_PATCH_EDGE),
        "alike": [
            {
                "region": other.region,
                "similarity": f"{other.similarity:.2f}",
                "image": None if other.patch is None else patch_uri(other.patch, edge=_ALIKE_EDGE),
            }
            for other in example.alike
        ],
    }


def _provenance(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Sort provenance into single values, tables and texts."""
    parts: dict[str, Any] = {"values": [], "tables": [], "texts": []}
    for key, value in provenance.items():
        name = str(key).replace("_", " ")
        if isinstance(value, Mapping):
            parts["tables"].append((name, [(str(k), str(v)) for k, v in value.items()]))
        elif "\n" in str(value):
            parts["texts"].append((name, str(value)))
        else:
            parts["values"].append((name, str(value)))
    return parts
