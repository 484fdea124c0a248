"""A made city, built once, that all rows are made from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import CITY_YAML, make_city

from mmgr.benchmark import Context
from mmgr.run import Run

# one-hot vectors need no compiled walks
YAML = CITY_YAML.replace("{dimensions: 8, iterations: 50}", "{method: one-hot}").replace("epochs: 2", "epochs: 1")


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("benchmark")
    make_city(folder)
    (folder / "city.yaml").write_text(YAML, encoding="utf-8")
    built = Run(folder / "city.yaml")
    built.build()
    built.do("categories")
    return built


@pytest.fixture
def context(run: Run, tmp_path: Path) -> Callable[[str], Context]:
    """Make the context of a row with a folder of its own."""

    def make(name: str = "row") -> Context:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        return Context(run.config, run.layout, folder)

    return make


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
