"""Numbers and vectors into colours that also colour-blind people can tell apart."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import LogNorm, Normalize, hsv_to_rgb, to_hex, to_rgb
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray
from sklearn.decomposition import PCA

COLOUR_MAP = "viridis"
"""Perceptually uniform, and readable in grey."""
MISSING = (214, 214, 214)
"""Grey of a region without a value."""

_OKABE_ITO = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#f0e442", "#4d4d4d")

MINUS = "\N{MINUS SIGN}"
NO_NUMBER = "\N{EN DASH}"

_SKEWED = 5.0  # a 98th percentile this many medians away hides the rest on a linear scale
_DECADES = 3.0  # smaller values than this many decades under the top share one colour
_PCA_ROWS = 100_000  # three components of a sample this large no longer change


@dataclass(frozen=True, slots=True)
class Scale:
    """Which colour a value has: from ``low`` to ``high``, by ratio where ``log``."""

    low: float
    high: float
    log: bool
    below: bool
    """Whether values lie under ``low``."""
    above: bool
    """Whether values lie over ``high``."""

    @classmethod
    def of(cls, values: ArrayLike) -> Scale:
        """Fit a scale to values: 2nd to 98th percentile, logarithmic where they are skewed."""
        known = np.asarray(values, np.float64).ravel()
        known = known[np.isfinite(known)]
        if known.size == 0:
            return cls(low=0.0, high=1.0, log=False, below=False, above=False)
        low, middle, high = (float(v) for v in np.percentile(known, [2, 50, 98]))
        positive = known[known > 0]
        log = bool(known.min() >= 0 and high > 0 and (middle == 0 or high / middle > _SKEWED))
        if log:
            low = max(float(np.percentile(positive, 2)), high / 10**_DECADES)
        if not low < high:
            low, high, log = low - (abs(low) or 1.0) / 2, high + (abs(high) or 1.0) / 2, False
        return cls(low=low, high=high, log=log, below=bool(known.min() < low), above=bool(known.max() > high))

    def norm(self) -> Any:
        """Return the scale as matplotlib knows it."""
        return (LogNorm if self.log else Normalize)(self.low, self.high, clip=True)

    def fraction(self, values: ArrayLike) -> NDArray[np.float64]:
        """Place values on the scale, 0 to 1; NaN stays NaN."""
        values = np.asarray(values, np.float64)
        clipped = np.clip(values, self.low, self.high)
        if self.log:
            return np.asarray(np.log(clipped / self.low) / math.log(self.high / self.low))
        return np.asarray((clipped - self.low) / (self.high - self.low))

    def colours(self, values: ArrayLike) -> NDArray[np.uint8]:
        """Return the colour of each of ``n`` values, shape ``(n, 3)``; :data:`MISSING` where not finite."""
        values = np.asarray(values, np.float64)
        known = np.isfinite(values)
        fraction = self.fraction(np.where(known, values, self.low))
        rgb = np.asarray(colormaps[COLOUR_MAP](fraction, bytes=True)[:, :3], np.uint8)
        rgb[~known] = MISSING
        return rgb

    def ticks(self) -> list[float]:
        """Return round values along the scale."""
        if not self.log:
            ticks = MaxNLocator(5).tick_values(self.low, self.high)
            return [float(t) for t in ticks if self.low <= t <= self.high] or [self.low, self.high]
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        round_values: list[float] = []
        for steps in ((1, 2, 5), (1, 3), (1,)):
            round_values = [step * 10.0**decade for decade in decades for step in steps]
            round_values = [t for t in round_values if self.low <= t <= self.high]
            if len(round_values) <= 7:
                break
        return round_values or [self.low, self.high]


def readable(value: float, digits: int = 3) -> str:
    """Write a number for people: three significant digits, thousands apart, large ones in words."""
    if not math.isfinite(value):
        return NO_NUMBER
    for size, word in ((1e12, " tn"), (1e9, " bn"), (1e6, " M")):
        if abs(value) >= size:
            return f"{value / size:.{digits}g}{word}".replace("-", MINUS)
    if value == 0 or abs(value) < 1e-4:
        return f"{value:.{digits}g}".replace("-", MINUS)
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{decimals}f}".replace("-", MINUS)
    return text.rstrip("0").rstrip(".") if "." in text else text


def hex_colour(rgb: Iterable[int]) -> str:
    """Write red, green and blue as HTML knows them."""
    return "#" + "".join(f"{int(part):02x}" for part in rgb)


def class_colours(classes: int) -> NDArray[np.uint8]:
    """Return a colour for each class, shape ``(classes, 3)``.

    The first eight are Okabe and Ito's, which colour-blind people can tell apart; further ones are of Matplotlib's
    ``tab20b`` and ``tab20c``, then of a ring of hues: beyond twenty no palette keeps classes apart by colour alone.
    """
    some = [*_OKABE_ITO, *(hex_of for name in ("tab20b", "tab20c") for hex_of in _listed(name))]
    if classes > len(some):
        some += [to_hex(hsv_to_rgb((i / classes, 0.6, 0.8))) for i in range(classes - len(some))]
    return np.array([[round(255 * part) for part in to_rgb(colour)] for colour in some[:classes]], np.uint8)


def _listed(name: str) -> list[str]:
    """Return a palette's colours, first one shade of each hue, then the next."""
    palette: Any = colormaps[name]
    colours = [to_hex(colour) for colour in palette.colors]
    return [colours[hue + shade] for shade in range(4) for hue in range(0, len(colours), 4)]


def embedding_colours(embeddings: ArrayLike) -> NDArray[np.uint8]:
    """Show vectors as colours: their first three principal components as red, green and blue.

    Parameters
    ----------
    embeddings
        Shape ``(n, d)``. Rows that are not finite become grey.

    Returns
    -------
    Shape ``(n, 3)``. Each component runs from its 2nd to its 98th percentile, and its sign is
    such that the largest loading is positive, so equal input gives equal colours.
    """
    embeddings = np.asarray(embeddings, np.float64)
    rgb = np.full((len(embeddings), 3), MISSING, np.uint8)
    known = np.isfinite(embeddings).all(axis=1)
    vectors = embeddings[known]
    components = min(3, *vectors.shape)
    if len(vectors) < 2 or components == 0:
        return rgb
    sample = vectors[:: math.ceil(len(vectors) / _PCA_ROWS)]
    pca = PCA(min(components, len(sample)), random_state=0).fit(sample)
    largest = np.abs(pca.components_).argmax(axis=1)
    signs = np.sign(pca.components_[np.arange(len(largest)), largest])
    scores = pca.transform(vectors) * np.where(signs == 0, 1, signs)
    low, high = np.percentile(scores, [2, 98], axis=0)
    # rounding noise of a component without spread must not become colour
    spread = np.where(high - low > 1e-9 * max(float((high - low).max()), 1e-12), high - low, np.inf)
    shown = np.full((len(vectors), 3), 0.5)
    shown[:, : scores.shape[1]] = np.where(np.isinf(spread), 0.5, np.clip((scores - low) / spread, 0, 1))
    # the darkest tenth is left out: black squares look like holes in the map
    rgb[known] = np.round(25 + 230 * shown).astype(np.uint8)
    return rgb
