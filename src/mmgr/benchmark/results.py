"""What a benchmark found: rows, scores, ranks and differences, as one JSON file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

from mmgr.benchmark.cache import Outcome
from mmgr.evaluate import METRICS, Score, Scores
from mmgr.files import read_versioned, write_json

SCHEMA_VERSION = 1
"""Version of ``benchmark.json``."""

Panel = tuple[str, str]
"""A task and a split."""


@dataclass(frozen=True)
class Benchmark:
    """The contents of ``benchmark.json``."""

    title: str
    """Name of the run."""
    main: str
    """The row that others are compared with; it may not have been made."""
    shared: Mapping[str, Any]
    """Settings of all trained rows; empty where none was trained."""
    outcomes: Sequence[Outcome]
    """What became of each row, in the order in which they were asked for."""
    scores: Scores
    """Of the rows that were made, with their differences from the main one."""
    chosen: Mapping[str, Mapping[str, Sequence[Mapping[str, int]]]] = field(default_factory=dict)
    """How often the concatenation chose each row of images and of POIs, by task and split."""

    @property
    def panels(self) -> list[Panel]:
        """Tasks and splits that were scored."""
        return list(dict.fromkeys((score.task, score.split) for score in self.scores.records))

    def of_panel(self, panel: Panel) -> list[Score]:
        """Return the scores of a task and split."""
        return [score for score in self.scores.records if (score.task, score.split) == panel]

    @property
    def ranks(self) -> dict[str, float]:
        """Mean rank of each row over tasks and splits, the best first."""
        return mean_ranks(self.scores.records)

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        write_json(
            path,
            {
                "schema_version": SCHEMA_VERSION,
                "title": self.title,
                "main": self.main,
                "shared": dict(self.shared),
                "rows": [asdict(outcome) for outcome in self.outcomes],
                "mean_rank": self.ranks,
                "chosen": self.chosen,
                **self.scores.to_json(),
            },
        )

    @classmethod
    def read(cls, path: Path) -> Benchmark:
        """Read what :meth:`write` wrote.

        Raises
        ------
        ArtefactError
            If there is no such file, or one of another version.
        """
        value = read_versioned(path, SCHEMA_VERSION, stage="benchmark")
        outcomes = tuple(Outcome.from_json(record) for record in value["rows"])
        scores = Scores.from_json(value)
        return cls(value["title"], value["main"], value["shared"], outcomes, scores, value["chosen"])


def mean_ranks(scores: Sequence[Score]) -> dict[str, float]:
    """Rank rows by the first metric of each task and split, and return their mean ranks, the best first.

    Equals share the mean of their ranks, and a score that is not defined is the last. A row that was not scored under a
    split has no rank there.
    """
    found: dict[str, list[float]] = {}
    for panel in dict.fromkeys((score.task, score.split) for score in scores):
        own = [score for score in scores if (score.task, score.split) == panel]
        values = np.array([score.value for score in own])
        signed = -values if METRICS[own[0].metric].highest else values
        ranks = rankdata(np.where(np.isfinite(signed), signed, np.inf))
        for score, rank in zip(own, ranks, strict=True):
            found.setdefault(score.features, []).append(float(rank))
    means = {name: float(np.mean(ranks)) for name, ranks in found.items()}
    return dict(sorted(means.items(), key=lambda item: item[1]))
