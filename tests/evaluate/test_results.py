from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmgr.errors import ArtefactError
from mmgr.evaluate import Results, Scores


def test_what_was_found_survives_the_file(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    facts = {"task": "population", "regions": 10, "outside": 1, "share_outside": 0.1}
    Results(Scores(), (), (facts,)).write(path)
    back = Results.read(path)
    assert back.applicability == (facts,)
    assert back.scores.records == ()


def test_the_file_of_an_older_version_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    path.write_text("[]")
    with pytest.raises(ArtefactError, match="run `mmgr evaluate` again"):
        Results.read(path)
    path.write_text(json.dumps({"schema_version": 99}))
    with pytest.raises(ArtefactError, match="schema version 99"):
        Results.read(path)
