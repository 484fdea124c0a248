"""Resampling weights, against explicit loops; windows; a limit on open files."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio._env import get_gdal_config

from mmgr.imagery.gdal import CACHE_BYTES, OpenRasters, gdal
from mmgr.imagery.interleave import Room, bands_last
from mmgr.imagery.read import axis_weights, source_range
from mmgr.imagery.windows import PixelBox, box_of_ring, is_square


@settings(deadline=None)
@given(start=st.floats(-20, 20), width=st.floats(1, 90), pixels=st.integers(1, 40))
def test_weights_keep_a_linear_ramp(start: float, width: float, pixels: int) -> None:
    """Bilinear values of f(x) = x are the pixels' centres; averages are, but for the parts of pixels at their ends."""
    source = (-60, 160)
    weights = axis_weights(start, start + width, pixels, source)
    assert weights.sum(axis=1) == pytest.approx(np.ones(pixels), abs=1e-4)
    ramp = np.arange(*source) + 0.5
    step = width / pixels
    assert weights @ ramp == pytest.approx(start + step * (np.arange(pixels) + 0.5), abs=2e-3 if step < 1 else 0.13)


@settings(deadline=None, max_examples=50)
@given(start=st.floats(-5, 5), width=st.floats(8, 30), pixels=st.integers(2, 8))
def test_shrinking_weights_are_shares_of_overlap(start: float, width: float, pixels: int) -> None:
    step = width / pixels
    source = source_range(start, start + width, pixels, 20)
    weights = axis_weights(start, start + width, pixels, source)
    for i in range(pixels):
        for column, j in enumerate(range(*source)):
            low, high = max(start + i * step, j), min(start + (i + 1) * step, j + 1)
            assert weights[i, column] == pytest.approx(max(high - low, 0) / step, abs=1e-5)


def test_a_box_near_whole_pixels_is_snapped() -> None:
    assert PixelBox(10.2, -0.1, 26.1, 15.9).snapped() == PixelBox(10, 0, 26, 16)
    assert PixelBox(10.4, 0, 26.4, 16).snapped() == PixelBox(10.4, 0, 26.4, 16)
    assert PixelBox(10, 0, 26, 16).is_whole(16)
    assert not PixelBox(10, 0, 26, 16).is_whole(15)
    assert PixelBox(-5, 0, 5, 10).share_within(100, 5) == 0.25


def _turned(edge: float, angle: float) -> np.ndarray:
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]]) * edge / 2
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return corners @ turn + 500


def test_a_ring_is_a_box_only_if_it_is_nearly_upright() -> None:
    box = box_of_ring(_turned(256, 1e-3), 256)
    assert box is not None
    assert box.width == pytest.approx(256, abs=0.3)
    assert box_of_ring(_turned(256, 0.02), 256) is None
    assert box_of_ring(np.full((5, 2), np.inf), 256) is None


def test_a_square_is_square_on_the_ground() -> None:
    assert is_square(PixelBox(0, 0, 100, 50), (1, 2))
    assert not is_square(PixelBox(0, 0, 100, 50), (1, 1))


def test_few_files_stay_open(write_image: object, noise: object) -> None:
    paths = [write_image(f"{n}.tif", noise()) for n in range(4)]  # type: ignore[operator]
    with OpenRasters(lambda raster: raster, limit=2) as rasters:
        opened = [rasters.get(path) for path in paths]
        assert [raster.closed for raster in opened] == [True, True, False, False]
        assert rasters.get(paths[2]) is opened[2]
    assert all(raster.closed for raster in opened)


def test_gdal_keeps_what_it_decoded() -> None:
    """Its cache is counted in bytes here, in megabytes elsewhere: 256 bytes keep nothing."""
    with gdal():
        assert get_gdal_config("GDAL_CACHEMAX") == CACHE_BYTES >= 2**26


@settings(deadline=None)
@given(bands=st.integers(1, 5), dtype=st.sampled_from(["uint8", "uint16", "float32"]))
def test_bands_are_laid_side_by_side(bands: int, dtype: str) -> None:
    data = np.random.default_rng(0).integers(0, 256, (bands, 9, 14)).astype(dtype)
    assert np.array_equal(bands_last(data), np.moveaxis(data, 0, 2))
    part = data[:, 2:7, 3:11]
    out = np.empty((5, 8, bands), dtype)
    assert bands_last(part, out) is out
    assert np.array_equal(out, np.moveaxis(part, 0, 2))


def test_rooms_do_not_overlap() -> None:
    room = Room(1500, 3)  # a piece is one patch
    first, second = room.take(), room.take()
    first[:], second[:] = 1, 2
    assert first.min() == first.max() == 1
    assert not np.shares_memory(first, second)
