"""The picture of categories is drawn for any taxonomy."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.image import imread
from matplotlib.text import Text

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


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[Text]:
    """The texts that a picture writes into its axes, in order, as they stand once it is drawn."""
    texts: list[Text] = []
    write = Axes.text

    def note(axes: Axes, x: float, y: float, text: str, **style: object) -> Text:
        texts.append(write(axes, x, y, text, **style))
        return texts[-1]

    monkeypatch.setattr(Axes, "text", note)
    return texts


def test_the_most_frequent_by_pois_are_listed_with_their_nearest(tmp_path: Path, written: list[Text]) -> None:
    taxonomy = Taxonomy(("a", "a", "b"), ("rare", "common", "middle"))
    vectors = np.array([[1, 0], [0.8, 0.6], [0, 1]], np.float32)
    category_figure(CategoryVectors(taxonomy, vectors, np.array([1.0, 30, 7])), tmp_path / "c.png")
    texts = [text.get_text() for text in written]
    assert [text for text in texts if text in taxonomy.second][:9:3] == ["common", "middle", "rare"]
    assert texts[:5] == ["common", "rare", "0.80", "middle", "0.60"]


def test_a_second_level_of_several_first_levels_is_named_with_its_first(tmp_path: Path, written: list[Text]) -> None:
    category_figure(vectors_of(("food", "shop", "shop"), ("other", "other", "kiosk")), tmp_path / "c.png")
    texts = [text.get_text() for text in written]
    assert {"food/other", "shop/other", "kiosk"} <= set(texts)
    assert "other" not in texts


def test_a_name_of_several_lines_or_scripts_stands_on_one_line_before_its_number(
    tmp_path: Path, written: list[Text]
) -> None:
    names = ("two\nlines", "\u05e2\u05d1\u05e8\u05d9\u05ea", "_")
    category_figure(vectors_of(names, names), tmp_path / "c.png")
    texts = [text.get_text() for text in written]
    assert "two lines" in texts
    assert not any("\n" in text for text in texts)
    assert "_" in texts
    hebrew = max(place for place, text in enumerate(texts[:15]) if text == names[1])
    name, number = written[hebrew], written[hebrew + 1]
    assert name.get_window_extent().x1 < number.get_window_extent().x0


def test_a_long_name_is_written_without_its_middle(tmp_path: Path, written: list[Text]) -> None:
    names = ("$ " * 60 + "end", "short", "b" * 2000)
    category_figure(vectors_of(names, names), tmp_path / "c.png")
    panel = written[0].axes.get_window_extent()
    listed = [text for text in written if text.axes is written[0].axes]
    assert all(text.get_window_extent().x1 <= panel.x1 for text in listed)
    assert any(text.get_text().startswith(r"\$ \$") and text.get_text().endswith("end") for text in listed)
