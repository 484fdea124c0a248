"""Names in figures: letters of other scripts are drawn by a font that is installed, or named where none is."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.image import imread

from mmgr import fonts
from mmgr.categories import CategoryVectors, category_figure
from mmgr.fonts import families_with
from mmgr.maps.style import draw_png
from mmgr.taxonomy import Taxonomy

KNOWN, UNKNOWN = "\U0010ff01\U0010ff02", "\U0010ff11"
"""Letters for private use, which no common font has."""


@pytest.fixture
def family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Install a font that has a triangle for each of two letters, as long as a test runs."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    pen.lineTo((500, 900))
    pen.lineTo((1000, 0))
    pen.closePath()
    glyph = pen.glyph()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "triangle"])
    builder.setupCharacterMap(dict.fromkeys(map(ord, KNOWN), "triangle"))
    builder.setupGlyf({".notdef": glyph, "triangle": glyph})
    builder.setupHorizontalMetrics({".notdef": (1000, 0), "triangle": (1000, 0)})
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": "Triangles", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(tmp_path / "triangles.ttf")
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [*font_manager.fontManager.ttflist])
    monkeypatch.setattr(fonts, "_told", set())
    families_with.cache_clear()
    font_manager.fontManager.addfont(tmp_path / "triangles.ttf")
    yield "Triangles"
    families_with.cache_clear()


def drawn(title: str, ticks: list[str] | None = None) -> np.ndarray:
    """Draw text at the bottom of a figure and as the names of ticks."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.set_title(title)
        if ticks:
            axes.set_xticks(range(len(ticks)), ticks)

    return np.asarray(imread(io.BytesIO(draw_png(4, 3, draw))))


def test_fonts_are_found_by_the_letters_they_have(family: str) -> None:
    assert families_with(frozenset(KNOWN)) == (family,)
    assert families_with(frozenset(KNOWN + UNKNOWN)) == (family,)
    assert families_with(frozenset(UNKNOWN)) == ()


def test_letters_of_another_installed_font_are_drawn(family: str, caplog: pytest.LogCaptureFixture) -> None:
    """Both letters look alike in that font; boxes of letters without one do not."""
    assert family == "Triangles"
    one, other = (drawn(f"a{letter}", ["b", f"{letter}c"]) for letter in KNOWN)
    np.testing.assert_array_equal(one, other)
    assert not np.array_equal(one, drawn(f"a{UNKNOWN}", ["b", f"{UNKNOWN}c"]))
    assert caplog.text.count("no font here has all letters of \U0010ff11c, a\U0010ff11; figures show boxes") == 1
    assert "findfont" not in caplog.text, "a family without bold letters is good enough"


def test_names_without_a_font_are_told_once_however_often_they_are_drawn(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fonts, "_told", set())
    names = [f"{UNKNOWN}{number}" for number in range(7)]
    for _ in range(2):
        drawn("plain", ["plain", *names])
    assert caplog.text.count("no font here has all letters") == 1
    assert f"{names[4]} and 2 more" in caplog.text


def test_plain_names_are_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(_: frozenset[str]) -> tuple[str, ...]:
        raise AssertionError("no other font is needed")

    monkeypatch.setattr(fonts, "families_with", never)
    calls = []
    draw_png(2, 2, lambda figure: calls.append(figure.suptitle("École, Жильё, مسكن")))
    assert len(calls) == 1


def test_other_warnings_are_not_kept_back() -> None:
    def draw(figure: Figure) -> None:
        figure.subplots().set_xlim(1, 1)

    with pytest.warns(UserWarning, match="identical low and high xlims"):
        draw_png(2, 2, draw)


def test_the_picture_of_categories_finds_fonts_too(
    family: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert family == "Triangles"
    vectors = np.eye(3, dtype=np.float32)
    category_figure(CategoryVectors(Taxonomy(tuple("abc"), (*KNOWN, "x")), vectors, np.ones(3)), tmp_path / "c.png")
    assert (tmp_path / "c.png").is_file()
    assert "no font here" not in caplog.text
