"""One argument chooses how regions get their vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from mmgr.errors import ConfigError


@dataclass(frozen=True, slots=True)
class RegionMethod:
    """Where a method's estimator is found; its module is imported when the method is chosen."""

    module: str
    """Such as ``mmgr.contexts.estimators``."""
    name: str
    """Its class there."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Those that make it this method."""


METHODS: dict[str, RegionMethod] = {
    "context": RegionMethod("mmgr.contexts.estimators", "ContextVectors"),
    "densities": RegionMethod("mmgr.contexts.estimators", "ContextDensities"),
    "table": RegionMethod("mmgr.contexts.estimators", "CountTable"),
    "mean": RegionMethod("mmgr.contexts.means", "RegionMean"),
    "tf-idf": RegionMethod("mmgr.contexts.means", "RegionMean", {"weighting": "tf-idf"}),
    "kernels": RegionMethod("mmgr.learn.poi_sets", "PoiSetVectors", {"encoder": "kernels"}),
    "attention": RegionMethod("mmgr.learn.poi_sets", "PoiSetVectors", {"encoder": "attention"}),
    "set2set": RegionMethod("mmgr.learn.poi_sets", "PoiSetVectors", {"encoder": "set2set"}),
}
"""The methods there are. One that needs torch is named here, and torch is imported only where it is chosen."""


def make_region_vectors(method: str, pois: Any, **parameters: Any) -> Any:
    """Return the estimator of a method.

    Parameters
    ----------
    method
        ``context``, ``densities``, ``table``, ``mean`` or ``tf-idf``; or, learned by contrast, ``kernels``,
        ``attention`` or ``set2set``.
    pois
        The POI table.
    parameters
        Those of the estimator.

    Raises
    ------
    ConfigError
        If there is no such method, or it has no such parameter.
    """
    if method not in METHODS:
        near = get_close_matches(method, METHODS, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigError(f"there is no method {method!r} of region vectors; {hint}known are {', '.join(METHODS)}.")
    chosen = METHODS[method]
    kind = getattr(import_module(chosen.module), chosen.name)
    try:
        return kind(pois, **(dict(chosen.parameters) | parameters))
    except TypeError as error:
        raise ConfigError(f"{kind.__name__}: {error}") from error
