"""What an evaluation found, as one JSON file: scores, intervals and areas of applicability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmgr.evaluate.interval_scores import IntervalScore
from mmgr.evaluate.records import Scores
from mmgr.files import read_versioned, write_json

SCHEMA_VERSION = 3
"""Version of the file below; 1 was the list of scores alone, 2 had no differences and no curves."""


@dataclass(frozen=True)
class Results:
    """The contents of ``scores.json``."""

    scores: Scores
    intervals: Sequence[IntervalScore] = ()
    """How often intervals held: a record for each task, split and level."""
    applicability: Sequence[Mapping[str, Any]] = ()
    """How many regions are unlike the labelled ones: a record for each task."""

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        write_json(
            path,
            {
                "schema_version": SCHEMA_VERSION,
                **self.scores.to_json(),
                "intervals": [record.to_json() for record in self.intervals],
                "applicability": [dict(record) for record in self.applicability],
            },
        )

    @classmethod
    def read(cls, path: Path) -> Results:
        """Read what :meth:`write` wrote.

        Raises
        ------
        ArtefactError
            If there is no such file, or one of another version.
        """
        value = read_versioned(path, SCHEMA_VERSION, stage="evaluate")
        intervals = tuple(IntervalScore.from_json(record) for record in value["intervals"])
        return cls(Scores.from_json(value), intervals, tuple(value["applicability"]))
