"""Imagery: which images there are, and the patch of each region."""

from mmgr.imagery.collection import Imagery, choose_crs, store_crs
from mmgr.imagery.cut import cut_patches
from mmgr.imagery.files import ImageFile, SetAside

__all__ = ["ImageFile", "Imagery", "SetAside", "choose_crs", "cut_patches", "store_crs"]
