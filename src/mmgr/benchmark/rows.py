"""What a row of the benchmark is: a name, what it may see, and how it makes a vector of each region."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mmgr.config import Config
from mmgr.errors import MmgrError
from mmgr.layout import Layout
from mmgr.store import RegionStore

if TYPE_CHECKING:  # torch and numba load slowly
    import geopandas as gpd

    from mmgr.categories import CategoryVectors
    from mmgr.learn.recipes import Recipe
    from mmgr.pois import PoiTables

Kind = Literal["image", "poi", "both"]
Vectors = NDArray[np.float32]
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
"""What a row may be called: its name is that of a folder."""


class LeftOut(MmgrError):  # noqa: N818 - it is no fault: a row says why it is not made
    """A row that cannot be made here, with the reason: a library or weights that are not there."""


@dataclass(frozen=True, slots=True)
class Made:
    """What a row gives beside its vectors."""

    vectors: Vectors
    """One vector a region, in the store's order, shape ``(n, d)``, finite."""
    parameters: int = 0
    """Learned numbers of the model that made them."""
    note: str = ""
    """Where the row departs from the common settings, as the table says it."""
    seconds: float | None = None
    """What it cost, where it was not made here and now."""
    parts: tuple[int, ...] = ()
    """Columns of each part of the vectors, such as images and POIs, where they have parts: probes weigh them."""


@dataclass(frozen=True)
class Context:
    """What a row is made from."""

    config: Config
    """The run's configuration."""
    layout: Layout
    """Where the run's artefacts lie."""
    folder: Path
    """A folder of the row's own: what a killed row goes on from."""
    trained: float | None = None
    """Seconds that the run's own training took, where its bundle is up to date."""

    @property
    def seed(self) -> int:
        """Of everything random."""
        return self.config.seed

    @property
    def device(self) -> str:
        """`auto`, `cpu` or `cuda`."""
        return self.config.pretrain.device

    @cached_property
    def store(self) -> RegionStore:
        """The regions, their patches and POIs."""
        return RegionStore(self.layout.regions)

    @cached_property
    def centres(self) -> NDArray[np.float64]:
        """Centres of the regions in metres, shape ``(n, 2)``.

        Raises
        ------
        LeftOut
            If regions have no place, as samples of the research code.
        """
        if not self.store.info.crs:
            raise LeftOut("it asks where regions are, and these have no place")
        return np.asarray(self.store.regions.geometry.centroid.get_coordinates().to_numpy(), np.float64)

    @cached_property
    def tables(self) -> PoiTables:
        """The clean POIs; only of a run that has some."""
        from mmgr.pois import PoiTables  # noqa: PLC0415 - as above

        return PoiTables.load(self.layout.pois)

    @cached_property
    def categories(self) -> CategoryVectors:
        """The category vectors that the configuration asks for; only of a run with POIs."""
        from mmgr.categories import CategoryVectors  # noqa: PLC0415 - as above

        return CategoryVectors.load(self.layout.categories)

    @cached_property
    def points(self) -> gpd.GeoDataFrame:
        """The POIs as points with ``first_level`` and ``second_level``, in the regions' CRS.

        Raises
        ------
        LeftOut
            If POIs are only counted in polygons, or are fewer than two.
        """
        points, taxonomy = self.tables.points, self.tables.taxonomy
        if len(points) < 2:
            raise LeftOut("it needs POIs as points; these are only counted in polygons")
        category = points["category"].to_numpy()
        return points.assign(
            first_level=np.array(taxonomy.first, object)[category],
            second_level=np.array(taxonomy.second, object)[category],
        )

    @cached_property
    def recipe(self) -> Recipe:
        """The encoder, crop, views, batch, epochs and optimiser that all trained rows share; images alone."""
        from mmgr.benchmark.settings import common_recipe  # noqa: PLC0415 - as above

        return common_recipe(self.config.pretrain)


@dataclass(frozen=True, slots=True)
class Row:
    """A method that turns regions into vectors.

    ``make`` sees no label. It raises :class:`LeftOut` where it cannot be done here; any other error is a failure of
    this row alone.
    """

    name: str
    """Short, and a folder's name."""
    kind: Kind
    """What the vectors are made of: a row is left out of a run that lacks it."""
    make: Callable[[Context], Made | Vectors]
    """Returns one finite vector a region."""
    title: str = ""
    """What it does, in half a line, with its source."""
    trained: bool = False
    """Whether it depends on the settings of `pretrain`."""
    needs: Kind | None = None
    """What a run must have, where that is less than the row sees; by default ``kind``."""

    def lacks(self, config: Config) -> str:
        """Return what a run has not, that the row needs; empty if it has all."""
        needs, missing = self.needs or self.kind, []
        if needs != "poi" and config.images is None:
            missing.append("images")
        if needs != "image" and config.pois is None:
            missing.append("POIs")
        return " and ".join(missing)


def filled(vectors: NDArray[np.floating[Any]], known: NDArray[np.bool_]) -> Vectors:
    """Return vectors in which unknown rows hold the mean of the known ones, or zeros, shape ``(n, d)``."""
    found = np.asarray(vectors, np.float32).copy()
    found[~known] = found[known].mean(axis=0, dtype=np.float64) if known.any() else 0
    return found
