"""The picture of categories is drawn for any taxonomy."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.image import imread

from mmgr.categories import CategoryVectors, category_figure
from mmgr.taxonomy import Taxonomy


def vectors_of(first: tuple[str, ...], second: tuple[str, ...]) -> CategoryVectors:
    random = np.random.default_rng(0)
    count = len(first)
    return CategoryVectors(
        Taxonomy(first, second),
        random.normal(size=(count, 8)).astype(np.float32),
        random.integers(0, 9, count).astype(float),
    )


@pytest.mark.parametrize("count", [1, 2, 3, 150])
def test_a_picture_is_drawn_for_few_and_many_categories(tmp_path: Path, count: int) -> None:
    first = tuple(f"group_{number % 20}" for number in range(count))
    category_figure(vectors_of(first, tuple(f"name $ {number}" for number in range(count))), str(tmp_path / "c.png"))
    assert np.ptp(imread(tmp_path / "c.png")[..., :3]) > 0.5


def test_letters_without_a_font_are_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="mmgr")
    names = ("\U00013000", "\U00013001", "école")  # hieroglyphs are in no common font
    category_figure(vectors_of(names, names), tmp_path / "c.png")
    assert caplog.text.count("no font here") == 1


def test_the_most_frequent_by_pois_are_listed_with_their_nearest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    write = Axes.text

    def note(axes: Axes, x: float, y: float, text: str, **style: object) -> object:
        written.append(text)
        return write(axes, x, y, text, **style)

    monkeypatch.setattr(Axes, "text", note)
    taxonomy = Taxonomy(("a", "a", "b"), ("rare", "common", "middle"))
    vectors = np.array([[1, 0], [0.8, 0.6], [0, 1]], np.float32)
    category_figure(CategoryVectors(taxonomy, vectors, np.array([1.0, 30, 7])), tmp_path / "c.png")
    names = [text for text in written if text in taxonomy.second]
    assert names[:3] == ["common", "middle", "rare"]
    assert written[1] == "rare  0.80"
