from __future__ import annotations

import numpy as np
import pytest

from mmgr.benchmark.texture import ORIENTATIONS, PATTERNS, describe_patch, dimensions


def parts(patch: np.ndarray) -> dict[str, np.ndarray]:
    found = describe_patch(patch)
    bands = patch.shape[-1]
    assert len(found) == dimensions(bands)
    cuts = np.cumsum([bands, bands, 5 * bands, 2, ORIENTATIONS])
    names = ("mean", "spread", "percentiles", "gradient", "directions", "patterns")
    return dict(zip(names, np.split(found, cuts), strict=True))


def test_a_flat_patch_has_its_colour_and_no_texture() -> None:
    found = parts(np.full((9, 7, 3), (51, 102, 204), np.uint8))
    np.testing.assert_allclose(found["mean"], [0.2, 0.4, 0.8], rtol=1e-5)
    np.testing.assert_allclose(found["spread"], 0, atol=1e-6)
    np.testing.assert_allclose(found["percentiles"].reshape(5, 3), [[0.2, 0.4, 0.8]] * 5, rtol=1e-5)
    np.testing.assert_allclose(found["gradient"], 0, atol=1e-6)
    # no neighbour is darker
    np.testing.assert_allclose(found["patterns"], np.eye(PATTERNS)[8])


@pytest.mark.parametrize(("axis", "direction"), [(1, 0), (0, ORIENTATIONS // 2)])
def test_a_slope_has_one_direction(axis: int, direction: int) -> None:
    ramp = np.arange(20, dtype=np.uint8) * 10
    patch = np.broadcast_to(ramp[None, :] if axis == 1 else ramp[:, None], (20, 20))[..., None]
    found = parts(np.ascontiguousarray(patch))
    assert found["directions"][direction] == pytest.approx(1, abs=1e-5)
    assert found["gradient"][0] == pytest.approx(10 / 255, rel=1e-4)


def test_patterns_do_not_change_as_the_patch_turns() -> None:
    patch = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    turned = parts(np.ascontiguousarray(np.rot90(patch)))
    np.testing.assert_allclose(parts(patch)["patterns"], turned["patterns"])


def test_patterns_are_those_of_explicit_loops() -> None:
    patch = np.random.default_rng(1).integers(0, 256, (7, 6, 1), dtype=np.uint8)
    grey, counts = patch[..., 0].astype(int), np.zeros(PATTERNS)
    ring = [(0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1)]
    for y in range(1, 6):
        for x in range(1, 5):
            bits = [grey[y + dy, x + dx] >= grey[y, x] for dy, dx in ring]
            changes = sum(bits[k] != bits[k - 1] for k in range(8))
            counts[sum(bits) if changes <= 2 else 9] += 1
    np.testing.assert_allclose(parts(patch)["patterns"], counts / counts.sum(), rtol=1e-5)
