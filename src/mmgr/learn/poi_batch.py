"""The POIs of a batch of regions, as tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmgr.store import PoiBags


@dataclass(frozen=True, slots=True)
class PoiBatch:
    """The POIs of ``B`` regions, as ``m`` entries."""

    category: Tensor
    """Shape ``(m,)``, int64."""
    count: Tensor
    """How many POIs an entry stands for, shape ``(m,)``."""
    owner: Tensor
    """Region of each entry, 0 .. B - 1, shape ``(m,)``, int64."""
    present: Tensor
    """Whether a region has POIs, or what lies around it is known, shape ``(B,)``, bool."""
    known: Tensor
    """Whether a source covers a region (its POIs may be none), shape ``(B,)``, bool."""
    log_density: Tensor
    """``log(1 + POIs per km2)`` of each category, shape ``(B, categories)``; 0 where unknown."""
    place: Tensor
    """Where each entry lies in the patch or view, right and down from its top left as parts of its edge,
    shape ``(m, 2)``; NaN where unknown, or where no recipe asks."""
    around: Tensor
    """What lies around each region, shape ``(B, A)``, zeros where unknown; ``A`` is 0 where no recipe asks."""
    surrounded: Tensor
    """Whether that is known, shape ``(B,)``, bool."""

    def __len__(self) -> int:
        return len(self.present)

    @classmethod
    def from_bags(
        cls,
        bags: PoiBags,
        categories: int,
        frames: NDArray[np.float32] | None = None,
        around: NDArray[np.float32] | None = None,
    ) -> PoiBatch:
        """Make tensors of some regions' POIs.

        Parameters
        ----------
        bags
            POIs of ``B`` regions.
        categories
            How many there are.
        frames
            Of their patches (:func:`mmgr.learn.places.patch_frames`), where it matters where POIs lie.
        around
            Vectors of what lies around them, shape ``(B, A)``; NaN where unknown.
        """
        some = bags.count > 0  # an entry that stands for no POI is none
        place = np.full_like(bags.offset, np.nan) if frames is None else places_in_patch(bags, frames)
        around = np.zeros((len(bags), 0), np.float32) if around is None else around
        surrounded = np.isfinite(around).all(1) & (around.shape[1] > 0)
        return cls(
            category=torch.from_numpy(bags.category[some].astype(np.int64)),
            count=torch.from_numpy(bags.count[some]),
            owner=torch.from_numpy(bags.owner[some]),
            present=torch.from_numpy((np.bincount(bags.owner[some], minlength=len(bags)) > 0) | surrounded),
            known=torch.from_numpy(bags.known),
            log_density=torch.from_numpy(np.log1p(np.nan_to_num(bags.densities(categories)))),
            place=torch.from_numpy(place[some]),
            around=torch.from_numpy(np.where(surrounded[:, None], around, np.float32(0))),
            surrounded=torch.from_numpy(surrounded),
        )

    def to(self, device: torch.device) -> PoiBatch:
        """Move the entries to a device; from pinned memory the host does not wait for it."""
        return self.changed(lambda part: part.to(device, non_blocking=True))

    def changed(self, change: Callable[[Tensor], Tensor]) -> PoiBatch:
        """Do something to all tensors."""
        return replace(self, **{field.name: change(getattr(self, field.name)) for field in fields(self)})


def places_in_patch(bags: PoiBags, frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the place of each entry: right and down, as parts of the patch's edge, from its top left.

    Parameters
    ----------
    bags
        POIs of ``n`` regions, ``m`` entries.
    frames
        What :func:`patch_frames` gives for these regions, shape ``(n, 3)``.

    Returns
    -------
    Shape ``(m, 2)``; within 0 .. 1 inside the patch, NaN where the place is not known.
    """
    own = frames[bags.owner]
    part = (bags.offset - own[:, :2]) / own[:, 2:]
    return np.asarray(np.stack([0.5 + part[:, 0], 0.5 - part[:, 1]], axis=1), np.float32)
