from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import CITY_YAML, make_city

import mmgr
from mmgr import cli
from mmgr.errors import ConfigError
from mmgr.evaluate import check_splits, read_units
from mmgr.learn.finetune import FineTuner, FoldResult


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The made city, scored and ready to be fine-tuned."""
    folder = tmp_path_factory.mktemp("city")
    make_city(folder)
    path = folder / "city.yaml"
    path.write_text(CITY_YAML.replace("{folds: 3, seeds: 1}", "{folds: 3, seeds: 2, probes: [ridge]}"))
    mmgr.Run(path).all()
    return path


@pytest.fixture
def folds(monkeypatch: pytest.MonkeyPatch) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Every fold that is done: units to learn from, units that choose the epoch, units that are predicted."""
    done: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    fold = FineTuner.fold

    def noted(self: FineTuner, train: Any, stop: Any, wanted: Any, **given: Any) -> FoldResult:
        done.append((train, stop, wanted))
        return fold(self, train, stop, wanted, **given)

    monkeypatch.setattr(FineTuner, "fold", noted)
    return done


def test_folds_are_those_of_the_probes_and_scores_stand_beside_theirs(
    ready: Path, folds: list[tuple[np.ndarray, np.ndarray, np.ndarray]]
) -> None:
    run = mmgr.Run(ready)
    scores = run.finetune(epochs=1, force=True).to_frame()
    units = read_units(run.config.tasks[0], mmgr.RegionStore(run.layout.regions).regions)
    (plan,) = check_splits(units, run.config.evaluate, edge=120, seed=0)
    assert len(folds) == 3
    for (fit, stop, wanted), (train, test) in zip(folds, plan.folds[0], strict=True):
        assert np.array_equal(wanted, test)
        assert set(fit) | set(stop) <= set(train)
        assert not set(fit) & set(stop)
        assert len(stop)
    (row,) = scores.to_dict("records")
    probes = run.evaluate().to_frame()
    assert row["features"] == "[image, POI], fine-tuned"
    assert (row["probe"], row["seeds"], row["folds"]) == ("linear", 1, 3)
    for name in ("task", "split", "n_units", "block", "buffer", "scale", "optimistic"):
        assert row[name] == probes[name].iloc[0], name
    held_out = pd.read_parquet(run.layout.finetune / "population" / "held_out.parquet")
    assert sorted(held_out["id"]) == sorted(units.ids)
    assert held_out.set_index("id")["observed"].to_dict() == dict(zip(units.ids, units.values, strict=True))


def test_the_report_shows_it_though_no_run_asks_for_it(ready: Path) -> None:
    run = mmgr.Run(ready)
    run.finetune(epochs=1)
    assert "finetune" not in {status.stage for status in run.plan()}
    page = run.report().read_text(encoding="utf-8")
    assert "[image, POI], fine-tuned" in page
    baselines = re.findall(r'<th scope="row">([^<]*?) <span class="tag">baseline', page)
    assert "image only" in baselines
    assert "[image, POI], fine-tuned" not in baselines
    assert all(status.up_to_date for status in mmgr.Run(ready).plan())


def test_what_was_done_is_not_done_again_and_a_killed_one_goes_on(
    ready: Path, folds: list[tuple[np.ndarray, np.ndarray, np.ndarray]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = mmgr.Run(ready)
    run.finetune(epochs=2, force=True)
    assert len(folds) == 3
    run.finetune(epochs=2)
    assert len(folds) == 3
    folder = run.layout.finetune / "population"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    noted = FineTuner.fold

    def killed(self: FineTuner, *rows: Any, **given: Any) -> FoldResult:
        if len(folds) == 4:
            raise KeyboardInterrupt
        return noted(self, *rows, **given)

    with monkeypatch.context() as patch:
        patch.setattr(FineTuner, "fold", killed)
        with pytest.raises(KeyboardInterrupt):
            run.finetune(epochs=3)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before, "what was there is untouched"
    assert not list(run.layout.finetune.rglob(".*"))
    assert len(list((run.layout.finetune / "unfinished" / "population").glob("blocks-*.json"))) == 1
    resumed = run.finetune(epochs=3).to_json()
    assert len(folds) == 3 + 3, "the first fold was not done twice"
    assert not (run.layout.finetune / "unfinished").exists()
    straight = run.finetune(epochs=3, force=True).to_json()
    assert resumed == straight
    # other settings were asked for; whether a score changes by an epoch more is another matter
    assert json.loads((folder / "run.json").read_text())["finetune"]["epochs"] == 3


def test_another_model_or_other_folds_make_old_scores_stale(ready: Path, caplog: pytest.LogCaptureFixture) -> None:
    from mmgr.actions.finetune import fine_tuned

    caplog.set_level(logging.INFO, "mmgr")
    run = mmgr.Run(ready)
    run.finetune(epochs=1)
    assert len(fine_tuned(run.config, run.layout).records) == 1
    record = run.layout.folder / "stages" / "embed.json"
    text = record.read_text()
    try:
        record.write_text(json.dumps(json.loads(text) | {"key": "of another model"}))
        assert not fine_tuned(run.config, run.layout).records
    finally:
        record.write_text(text)
    other = run.config.model_copy(update={"evaluate": run.config.evaluate.model_copy(update={"folds": 4})})
    assert not fine_tuned(other, run.layout).records
    assert caplog.text.count("fine-tuning was of another model, label or split and is left out") == 2


def test_a_section_makes_it_a_stage(ready: Path) -> None:
    text = ready.read_text()
    other = ready.with_name("tuned.yaml")
    other.write_text(text + "finetune: {epochs: 1, pois: false, blocks: 2}\n")
    run = mmgr.Run(other)
    stages = [status.stage for status in run.plan()]
    assert stages[stages.index("evaluate") + 1] == "finetune"
    run.do("finetune")
    assert run.finetune().to_frame()["features"].tolist() == ["image, fine-tuned"]
    assert {status.stage for status in mmgr.Run(other).plan() if not status.up_to_date} == {"report"}


def test_what_cannot_be_fine_tuned_is_refused(ready: Path) -> None:
    run = mmgr.Run(ready)
    with pytest.raises(ConfigError, match=r"there is no task 'populaton'; did you mean population\?"):
        run.finetune(task="populaton")
    with pytest.raises(ConfigError, match="the encoder has 5 blocks, 9 are asked for"):
        run.finetune(task="population", blocks=9)
    alone = run.config.model_copy(update={"images": None})
    with pytest.raises(ConfigError, match="there is none without `images`"):
        mmgr.Run(alone).finetune()


def test_the_command_says_in_one_message_what_cannot_be_done(ready: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def call(*words: str) -> tuple[int, str]:
        try:
            cli.main(["finetune", str(ready), *words])
        except SystemExit as stop:
            return int(stop.code or 0), " ".join("".join(capfd.readouterr()).split())
        return 0, " ".join("".join(capfd.readouterr()).split())

    assert call("--epochs", "1", "--force")[0] == 0
    code, printed = call("--epochs", "1", "--dry-run")
    assert (code, printed) == (0, "finetune up to date (inputs and settings are unchanged)")
    code, printed = call("--epochs", "2", "--dry-run")
    assert (code, printed) == (0, "finetune would run (finetune.epochs (1 -> 2) changed)")
    code, printed = call("--task", "populaton")
    assert code == 2
    assert printed.count("error:") == 1
    assert "did you mean population?" in printed
    other = ready.with_name("other.yaml")
    other.write_text(ready.read_text() + "finetune: {tasks: [jobs]}\n")
    with pytest.raises(SystemExit):
        cli.main(["run", str(other)])
    assert "`finetune.tasks`: there is no task 'jobs'; there are population" in " ".join(capfd.readouterr().err.split())
