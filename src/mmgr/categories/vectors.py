"""One vector a category: look up, compare, save and load."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from mmgr.console import log
from mmgr.errors import ArtefactError, PoiError
from mmgr.files import check_schema, make_folder, read_json, write_aside, write_json
from mmgr.taxonomy import Taxonomy

SCHEMA_VERSION = 2
"""Version of the files that :meth:`CategoryVectors.save` writes."""
_NEAREST = 5
"""How many neighbours of each category the table of neighbours lists."""
_SHOWN = 5
"""How many unknown categories a message names."""


@dataclass(frozen=True, slots=True)
class CategoryVectors:
    """One vector a category."""

    taxonomy: Taxonomy
    """The categories."""
    vectors: NDArray[np.float32]
    """Their vectors, shape ``(n, dimensions)``."""
    frequency: NDArray[np.float64]
    """POIs of each category that they were fitted on, shape ``(n,)``."""
    cooccurrence: NDArray[np.float64] | None = None
    """Pairs of target and context that they were learned from, shape ``(n, n)``; None where a method has none."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """How they were made: ``software``, ``method``, ``seed``, ``cell`` (m) and ``settings``."""

    def __post_init__(self) -> None:
        count = len(self.taxonomy)
        pairs = None if self.cooccurrence is None else self.cooccurrence.shape
        if len(self.vectors) != count or len(self.frequency) != count or pairs not in {None, (count, count)}:
            raise ValueError(
                f"{count} categories, but vectors {self.vectors.shape}, frequencies {self.frequency.shape} "
                f"and co-occurrence {pairs}"
            )

    def of(self, first: Iterable[str], second: Iterable[str]) -> NDArray[np.float32]:
        """Return the vector of each pair of names, shape ``(m, dimensions)``.

        A category that is not in the taxonomy has the mean of its first level's vectors; where the
        first level is unknown too, the mean of all vectors. One line of the log counts them.
        """
        pairs = list(zip(first, second, strict=True))
        number = {pair: place for place, pair in enumerate(dict.fromkeys(pairs))}
        row = np.fromiter((number[pair] for pair in pairs), np.int64, len(pairs))
        distinct = list(number)
        ids = self.taxonomy.ids([a for a, _ in distinct], [b for _, b in distinct])
        _log_unknown(distinct, ids, np.bincount(row, minlength=len(distinct)))
        table = vectors_by_name(distinct, self.taxonomy, self.vectors)
        table[np.isnan(table).all(axis=1)] = self.vectors.mean(axis=0, dtype=np.float64)
        return table[row]

    def neighbours(self, k: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the ``k`` nearest other categories of each, and their cosine similarities.

        Both have shape ``(n, min(k, n - 1))``, the nearest first.
        """
        length = np.linalg.norm(self.vectors.astype(np.float64), axis=1, keepdims=True)
        unit = self.vectors / np.where(length > 0, length, 1)
        similarity = unit @ unit.T
        np.fill_diagonal(similarity, -np.inf)
        nearest = np.argsort(-similarity, axis=1, kind="stable")[:, : min(k, len(unit) - 1)]
        return nearest, np.take_along_axis(similarity, nearest, axis=1)

    @property
    def by_frequency(self) -> NDArray[np.int64]:
        """The categories' rows, the most frequent first, shape ``(n,)``."""
        return np.argsort(-self.frequency, kind="stable")

    def save(self, folder: str | Path) -> None:
        """Write ``vectors.safetensors``, ``neighbours.json``, and ``taxonomy.json`` with frequencies and provenance."""
        folder = Path(folder)
        make_folder(folder)
        tensors = {"vectors": np.ascontiguousarray(self.vectors)}
        if self.cooccurrence is not None:
            tensors["cooccurrence"] = np.ascontiguousarray(self.cooccurrence)
        with write_aside(folder / "vectors.safetensors") as aside:
            save_file(tensors, aside)
        head = {"schema_version": SCHEMA_VERSION, "software": self.provenance.get("software", "")}
        write_json(folder / "neighbours.json", head | {"categories": self._neighbour_table()})
        made = {"provenance": dict(self.provenance), "pois": [_number(count) for count in self.frequency]}
        # last, so that a folder with a taxonomy is complete
        write_json(folder / "taxonomy.json", head | made | self.taxonomy.to_json())

    @classmethod
    def load(cls, folder: str | Path) -> CategoryVectors:
        """Read what :meth:`save` wrote.

        Raises
        ------
        ArtefactError
            If a file is missing, torn or of another version.
        """
        folder = Path(folder)
        stored = read_json(folder / "taxonomy.json")
        try:
            check_schema(stored["schema_version"], SCHEMA_VERSION, path=folder, stage="categories")
            tensors = load_file(folder / "vectors.safetensors")
            return cls(
                taxonomy=Taxonomy.from_json(stored),
                vectors=tensors["vectors"],
                frequency=np.array(stored["pois"], np.float64),
                cooccurrence=tensors.get("cooccurrence"),
                provenance=stored["provenance"],
            )
        except (OSError, SafetensorError, ValueError, KeyError, TypeError, PoiError) as error:
            raise ArtefactError(
                f"{folder} holds no category vectors of MMGR ({error}); run `mmgr categories` again."
            ) from error

    def _neighbour_table(self) -> list[dict[str, Any]]:
        """Return each category with its count and nearest others, the most frequent first."""
        names = self.taxonomy.names
        nearest, similarity = self.neighbours(_NEAREST)
        return [
            {
                "category": names[row],
                "pois": _number(self.frequency[row]),
                "nearest": {names[other]: round(float(value), 4) for other, value in zip(*found, strict=True)},
            }
            for row in self.by_frequency
            for found in [(nearest[row], similarity[row])]
        ]


def vectors_by_name(
    pairs: Sequence[tuple[str, str]], taxonomy: Taxonomy, vectors: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return a vector for each pair of names of a first and a second level, from those of a taxonomy.

    Parameters
    ----------
    pairs
        ``m`` pairs.
    taxonomy, vectors
        Categories and their vectors, shape ``(n, dimensions)``.

    Returns
    -------
    Shape ``(m, dimensions)``: the category's own; for one that is not in the taxonomy the mean of its first level's;
    NaN where the first level is unknown, too.
    """
    levels = np.array(taxonomy.first, object)
    ids = taxonomy.ids([first for first, _ in pairs], [second for _, second in pairs])
    table = np.full((len(pairs), vectors.shape[1]), np.nan, np.float32)
    for place, ((level, _), known) in enumerate(zip(pairs, ids, strict=True)):
        siblings = levels == level
        if known >= 0:
            table[place] = vectors[known]
        elif siblings.any():
            table[place] = vectors[siblings].mean(axis=0, dtype=np.float64)
    return table


def named_with_counts(names: Sequence[str], totals: NDArray[np.floating[Any]] | NDArray[np.int64]) -> str:
    """Name categories with how many POIs each has, the most frequent first, and no more than :data:`_SHOWN`."""
    ranked = np.argsort(-totals, kind="stable")
    shown = [f"{names[row]!r} ({totals[row]:,.0f})" for row in ranked[:_SHOWN]]
    return ", ".join([*shown, "..."] if len(names) > _SHOWN else shown)


def _number(count: float) -> float:
    """Return a count as JSON shows it best: whole where it is whole."""
    return int(count) if float(count).is_integer() else float(count)


def _log_unknown(pairs: Sequence[tuple[str, str]], ids: NDArray[np.int32], totals: NDArray[np.int64]) -> None:
    unknown = np.flatnonzero(ids < 0)
    if len(unknown):
        names = ["/".join(dict.fromkeys(pairs[row])) for row in unknown.tolist()]
        log.warning(
            "%d of %d POIs have one of %d unknown categories: %s; the mean of their first level, or of all, stands in",
            totals[unknown].sum(), totals.sum(), len(unknown), named_with_counts(names, totals[unknown]),
        )  # fmt: skip
