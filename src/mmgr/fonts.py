"""Letters of all scripts in figures: which installed font has them, and one line where none does."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache

from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.font_manager import FontEntry
from matplotlib.text import Text

from mmgr.console import log

FAMILY = "DejaVu Sans"
"""Comes with matplotlib: the same figure everywhere, as long as it has the letters."""

_LIKED = ("Noto Sans CJK", "Noto Sans", "Source Han Sans", "WenQuanYi", "Droid Sans", "PingFang", "Microsoft YaHei")
"""Plain families of many letters, which are looked into first."""
_NO_LETTERS = ("Last Resort", "STIXNonUnicode", "cm")
"""Families that come with matplotlib and have boxes or signs of formulas where others have letters."""
_MISSING = re.compile(r"Glyph (\d+) .*missing from font", re.DOTALL)
_SHOWN = 5
_told: set[str] = set()
"""Words that were named already: a run draws them in many figures."""


def draw_legibly(draw: Callable[[list[str]], Figure]) -> None:
    """Draw a figure, once more with further fonts where it has letters that :data:`FAMILY` lacks.

    Letters that no installed font has are boxes; the log names the words, each once in a process.

    Parameters
    ----------
    draw
        Draws and saves a figure with a list of font families, the first that has a letter for each of them.
    """
    figure, lost = _drawn(draw, [FAMILY])
    more = families_with(lost) if lost else ()
    if more:
        with _content_with_any_weight():
            figure, lost = _drawn(draw, [FAMILY, *more])
    if lost:
        _say(word for text in figure.findobj(Text) for word in text.get_text().split() if not lost.isdisjoint(word))


@lru_cache(maxsize=64)
def families_with(letters: frozenset[str]) -> tuple[str, ...]:
    """Return installed families that together have as many of some letters as there are, few of them."""
    found, wanted = [], {ord(letter) for letter in letters}
    upright = [font for font in font_manager.fontManager.ttflist if font.style == "normal"]
    for font in sorted(upright, key=_preference):
        has = _codes_of(font, wanted)
        if has:
            found.append(font.name)
            wanted -= has
        if not wanted:
            break
    return tuple(found)


def _preference(font: FontEntry) -> tuple[object, ...]:
    liked = [place for place, name in enumerate(_LIKED) if font.name.startswith(name)]
    weight = font.weight if isinstance(font.weight, int) else 400
    return (liked[0] if liked else len(_LIKED), "Sans" not in font.name, font.name, abs(weight - 400), font.fname)


def _codes_of(font: FontEntry, wanted: set[int]) -> set[int]:
    """Return which code points a font file has letters for."""
    if font.name.startswith(_NO_LETTERS):
        return set()
    try:
        face = font_manager.get_font([font.fname])
    except (OSError, RuntimeError):  # a broken file, or one of pictures
        return set()
    return {code for code in wanted if face.get_char_index(code)}


def _drawn(draw: Callable[[list[str]], Figure], families: list[str]) -> tuple[Figure, frozenset[str]]:
    """Draw a figure; return it and the letters that the families lack. Other warnings go on their way."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figure = draw(families)
    missing = [(item, _MISSING.match(str(item.message))) for item in caught]
    for item, found in missing:
        if found is None:
            warnings.warn_explicit(item.message, item.category, item.filename, item.lineno)
    return figure, frozenset(chr(int(found[1])) for _, found in missing if found)


@contextmanager
def _content_with_any_weight() -> Iterator[None]:
    """Keep matplotlib from telling that a family has no bold letters: plain ones stand for them."""
    logger = logging.getLogger("matplotlib.font_manager")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _say(words: Iterable[str]) -> None:
    new = [word for word in dict.fromkeys(words) if word not in _told]
    if new:
        _told.update(new)
        more = f" and {len(new) - _SHOWN} more" if len(new) > _SHOWN else ""
        log.warning(
            "no font here has all letters of %s%s; figures show boxes for them. Install one that has, such as one of "
            "the Noto Sans family",
            ", ".join(new[:_SHOWN]),
            more,
        )
