"""Extents as a person reads them."""

from __future__ import annotations

from typing import Any

from pyproj import CRS, Transformer


def lonlat_extent(bounds: Any, crs: Any) -> str:
    """Describe ``(west, south, east, north)`` of a CRS in degrees."""
    to_degrees = Transformer.from_crs(CRS.from_user_input(crs), "EPSG:4326", always_xy=True)
    west, south, east, north = to_degrees.transform_bounds(*bounds)
    return f"lon {west:.4f} to {east:.4f}, lat {south:.4f} to {north:.4f}"
