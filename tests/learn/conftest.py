"""A small region store, made once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from learn_samples import CATEGORIES, TAXONOMY, Vectors, make_store

from mmgr.store import RegionStore


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> RegionStore:
    return make_store(tmp_path_factory.mktemp("store") / "regions.lance", 22, without_image=(5, 16))


@pytest.fixture(scope="session")
def wide_store(tmp_path_factory: pytest.TempPathFactory) -> RegionStore:
    """Regions enough to hold some out."""
    return make_store(tmp_path_factory.mktemp("store") / "wide.lance", 80, without_image=(5, 16))


@pytest.fixture(scope="session")
def vectors() -> Vectors:
    return Vectors(TAXONOMY, np.random.default_rng(2).normal(size=(CATEGORIES, 8)).astype(np.float32))


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
