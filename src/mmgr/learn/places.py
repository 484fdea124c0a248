"""Where POIs lie in their region's patch, and which of them a view sees."""

from __future__ import annotations

from dataclasses import replace

import geopandas as gpd
import numpy as np
import shapely
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmgr.imagery.plan import patch_squares
from mmgr.learn.augment import ViewParameters, whole
from mmgr.learn.poi_batch import PoiBatch


def patch_frames(regions: gpd.GeoDataFrame) -> NDArray[np.float32]:
    """Return where each region's patch lies about its centre, from which offsets of POIs are measured.

    The patch is the square around the region's bounding box. A footprint whose image is turned in the
    regions' CRS is cut on the image's own pixels: places in it are off by the sine of that turn.

    Returns
    -------
    Shape ``(n, 3)``: metres east and north from the region's centroid to the patch's centre, and the
    patch's edge in metres.
    """
    squares = patch_squares(regions)
    centroid = shapely.get_coordinates(shapely.centroid(regions.geometry.to_numpy()))
    centre = (squares[:, :2] + squares[:, 2:]) / 2
    return np.column_stack([centre - centroid, squares[:, 2] - squares[:, 0]]).astype(np.float32)


def seen_in_views(pois: PoiBatch, parameters: ViewParameters) -> PoiBatch:
    """Return the POIs inside each region's crop, their places in the view that is made of it.

    A POI whose place is not known, as one of a polygon's counts, is in every crop. Densities stay those
    of the regions.

    Parameters
    ----------
    pois
        POIs of ``B`` regions, with places in their patches.
    parameters
        Of one view of each.
    """
    parameters = parameters.to(pois.place.device)
    left, top, width, height = parameters.box[pois.owner].unbind(1)  # (m,) each
    across, down = (pois.place[:, 0] - left) / width, (pois.place[:, 1] - top) / height
    unknown = pois.place.isnan().any(1)
    inside = (across >= 0) & (across <= 1) & (down >= 0) & (down <= 1)
    across, down = _turned(across, down, parameters.quarter_turns[pois.owner])
    across = torch.where(parameters.horizontal_flip[pois.owner], 1 - across, across)
    down = torch.where(parameters.vertical_flip[pois.owner], 1 - down, down)
    keep = inside | unknown
    owner = pois.owner[keep]
    return replace(
        pois,
        category=pois.category[keep],
        count=pois.count[keep],
        owner=owner,
        place=torch.stack([across, down], 1)[keep],
        present=pois.surrounded.index_fill(0, owner, True),
    )


def seen_in_patches(pois: PoiBatch) -> PoiBatch:
    """Return the POIs inside each region's whole patch."""
    return seen_in_views(pois, whole(len(pois)))


def _turned(across: Tensor, down: Tensor, turns: Tensor) -> tuple[Tensor, Tensor]:
    """Turn places anticlockwise by quarter turns about the centre, as images are."""
    right = torch.stack([across, down, 1 - across, 1 - down])
    below = torch.stack([down, 1 - across, 1 - down, across])
    chosen = turns[None]
    return right.gather(0, chosen)[0], below.gather(0, chosen)[0]
