"""A folder as the research code keeps it, made small."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

CATEGORIES = 5
DIMENSIONS = 64


def make_folder(folder: Path, regions: int = 9, *, pixels: int = 48) -> list[list[int]]:
    """Write three folders; returns the category of each POI of each region. Region 2 has no POI."""
    random = np.random.default_rng(0)
    table = random.normal(size=(CATEGORIES, DIMENSIONS)).astype(np.float32)
    for part in ("sub_city_img", "sub_city_emb", "sub_city_edge"):
        (folder / part).mkdir(parents=True)
    drawn = []
    for row in range(regions):
        base = random.integers(0, 256, (6, 6, 3)).repeat(pixels // 6, 0).repeat(pixels // 6, 1)
        Image.fromarray(base.astype(np.uint8)).save(folder / "sub_city_img" / f"r{row}.png")
        # category 0 is the most frequent
        categories = [] if row == 2 else [0] * 7 + random.integers(1, CATEGORIES, 4).tolist()
        torch.save(torch.from_numpy(table[categories]), folder / "sub_city_emb" / f"r{row}.tensor")
        count = len(categories)
        edges = torch.zeros(2, 0, dtype=torch.int64) if not count else torch.tensor([range(count - 1), range(1, count)])
        torch.save(edges, folder / "sub_city_edge" / f"r{row}.tensor")
        drawn.append(categories)
    return drawn
