"""How GDAL is used: quietly, with few open files."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError

OPEN_FILES = 32
"""Files kept open at a time."""
CACHE_BYTES = 2**28
"""Decoded blocks that GDAL keeps: what neighbouring patches share is decoded once. rasterio wants it in bytes."""
READ_ERRORS = (RasterioError, OSError)
"""What rasterio raises for a file that cannot be opened or read."""


@contextmanager
def gdal() -> Iterator[None]:
    """Run GDAL with a modest block cache, and with its messages as exceptions only."""
    # "TRUE" rather than "EMPTY_DIR": masks, overviews and world files beside an image still count
    with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="TRUE", GDAL_CACHEMAX=CACHE_BYTES):
        yield


def open_raster(path: Path, **options: Any) -> Any:
    """Open a raster; one that lies nowhere is the caller's to refuse, so no warning of it leaks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(path, **options)


def reason_of(error: BaseException) -> str:
    """Say in GDAL's words why a file failed; rasterio often only points at the cause."""
    return " ".join(str(error.__cause__ or error).split())


class OpenRasters:
    """Rasters kept open, the least recently used closed first.

    Parameters
    ----------
    warp
        Makes a view of a raster in another CRS.
    limit
        Files kept open.
    """

    def __init__(self, warp: Callable[[Any], Any], limit: int = OPEN_FILES) -> None:
        self._warp = warp
        self._limit = limit
        self._open: OrderedDict[tuple[Path, int | None, bool], tuple[Any, ...]] = OrderedDict()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._open:
            self._close_oldest()

    def get(self, path: Path, overview: int | None = None, *, warped: bool = False) -> Any:
        """Return the open dataset of a file, or of one of its overviews, or a warped view of it."""
        key = (path, overview, warped)
        if key not in self._open:
            while len(self._open) >= self._limit:
                self._close_oldest()
            raster = open_raster(path, **({} if overview is None else {"overview_level": overview}))
            self._open[key] = (self._warp(raster), raster) if warped else (raster,)
        self._open.move_to_end(key)
        return self._open[key][0]

    def _close_oldest(self) -> None:
        # a view closes before the raster that it looks at
        for dataset in self._open.popitem(last=False)[1]:
            dataset.close()
