"""What the documents say is so."""

from __future__ import annotations

import re
import runpy
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmgr.categories.estimators import ESTIMATORS
from mmgr.contexts.methods import METHODS

ROOT = Path(__file__).resolve().parents[1]


def test_the_page_of_settings_is_what_the_configuration_says() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "make_configuration_doc.py"))
    expected = script["page"]()
    assert (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8") == expected, (
        "run `python scripts/make_configuration_doc.py`"
    )
    assert "| |" not in expected, "a setting has no explanation"


def test_links_in_documents_lead_to_files() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_page_of_pois_runs_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "pois.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(compile(block, "docs/pois.md", "exec"), names)
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("is near", "ContextVectors", "RegionMean"))
    assert (tmp_path / "categories" / "vectors.safetensors").is_file()
    assert np.isfinite(names["table"].to_numpy()).all()


def test_each_estimator_is_named_on_the_page_of_pois() -> None:
    page = (ROOT / "docs" / "pois.md").read_text(encoding="utf-8")
    kinds = [*ESTIMATORS.values(), *(getattr(import_module(m.module), m.name) for m in METHODS.values())]
    assert not [kind.__name__ for kind in kinds if f"`{kind.__name__}`" not in page]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(name in readme for name in ("docs/pois.md", "make_category_vectors", "make_region_vectors"))


def test_the_readme_opens_with_the_two_commands() -> None:
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert blocks[0].strip() == "pip install . && mmgr demo"
    assert blocks[1].strip() == "pip install '.[test]' && pytest"


def test_every_direct_dependency_has_a_lower_bound() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = re.findall(r'^  "([A-Za-z0-9_-]+)([^"]*)",', text.split("[tool.")[0], re.MULTILINE)
    names = [name for name, bound in listed if not bound.startswith(">=")]
    assert not [name for name in names if name.islower()], names
