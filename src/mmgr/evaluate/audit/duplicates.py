"""Findings about things that are there twice: ids, places, patches, vectors, counts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import sparse

from mmgr.evaluate.audit.places import percent
from mmgr.evaluate.audit.records import Finding
from mmgr.evaluate.audit.sides import Folds, membership, shared_by_sides
from mmgr.store import RegionStore

_WHAT = {
    "identical patches": "have a patch that is, pixel by pixel, one of a training unit's",
    "identical vectors": "have a region whose vector is, number by number, one of a training unit's",
    "one count, both sides": "take POI counts from a polygon that a training unit takes them from too",
}


@dataclass(frozen=True)
class Keys:
    """What ``n`` regions have that others may have too: by kind, shape ``(n, keys)`` each."""

    held: Mapping[str, sparse.csr_array]

    @classmethod
    def of(cls, store: RegionStore, vectors: NDArray[np.float32] | None) -> Keys:
        """Read patches once, batch by batch, and hash them.

        Patches of one colour, as of open water, and regions of which nothing is known have no part in this: they are
        alike without having been copied.

        Parameters
        ----------
        store
            Regions with patches and POIs.
        vectors
            Embeddings, shape ``(n, d)``, if there are any.
        """
        held: dict[str, sparse.csr_array] = {}
        if store.info.bands:
            held["identical patches"] = membership([_digests(views) for batch in store.iterate() for views in batch])
        if vectors is not None:
            something = (store.views > 0) | store.bags.present
            held["identical vectors"] = membership(
                [[_digest(row)] if known else [] for row, known in zip(vectors, something, strict=True)]
            )
        units = [[str(unit)] if unit else [] for unit in store.bags.unit]
        if any(units):
            held["one count, both sides"] = membership(units)
        return cls(held)

    def findings(self, member: sparse.csr_array, folds: Folds, *, scope: str) -> Iterator[Finding]:
        """Yield a finding for each kind of thing.

        Parameters
        ----------
        member
            Regions of each unit, shape ``(u, n)``.
        folds
            Rows of units to train on and to test on.
        scope
            Task and split.
        """
        for path, keys in self.held.items():
            shared = shared_by_sides(member @ keys.astype(np.int64), folds)
            text = f"{percent(shared.count, shared.tested)} of test units {_WHAT[path]}."
            numbers = {"shared": shared.count, "tested": shared.tested}
            yield Finding(path, "named" if shared.count else "pass", text, scope, numbers)


def double_ids(ids: NDArray[np.object_], outlines: NDArray[np.object_]) -> Finding:
    """Say whether an id or an outline is there twice."""
    twice = len(ids) - len(set(ids.tolist()))
    same = len(outlines) - len({shapely.to_wkb(shape) for shape in shapely.normalize(outlines)})
    numbers: dict[str, Any] = {"same_id": twice, "same_outline": same}
    if twice or same:
        text = f"{twice:,} regions have the id of another, {same:,} its outline: one place may be on both sides."
        return Finding("one region twice", "named", text, numbers=numbers)
    return Finding("one region twice", "pass", "Each region has an id and an outline of its own.", numbers=numbers)


def _digests(views: NDArray[np.uint8]) -> list[bytes]:
    return [_digest(view) for view in views if view.min() < view.max()]


def _digest(values: NDArray[Any]) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(values).tobytes(), digest_size=16).digest()
