"""The same objective by mini-batches of sampled pairs, as published (Huang et al. 2022)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmgr.categories.compiled import compiled
from mmgr.categories.skipgram import SkipGram, start_vectors
from mmgr.console import track

Array = NDArray[np.float64]

CHUNK = 2**15
"""Batches' pairs whose negatives are drawn at once, at least one batch."""


def fit_minibatch(
    objective: SkipGram, *, dimensions: int, epochs: int, batch_size: int, learning_rate: float, seed: int
) -> Array:
    """Minimise the objective by Adam on batches; return targets and contexts, shape ``(2, n, dimensions)``.

    An epoch goes once through all pairs of a walk's start and a POI met later, in a new random
    order. For a pair only its two categories matter, so the pairs are counted, not kept. What the
    paper leaves open: a batch is ``batch_size`` pairs (not walks); each pair has negatives of its
    own; the hierarchy term enters every batch whole; the last, shorter batch counts as any other.

    One thread does all steps in order, so the vectors do not depend on how many there are.

    Parameters
    ----------
    objective
        Pairs, chances of negatives and hierarchy.
    dimensions
        Length of a vector.
    epochs
        How often each pair is seen.
    batch_size
        Pairs a step.
    learning_rate
        Adam's step size.
    seed
        Start of the vectors, of the orders and of the negatives.
    """
    vectors = start_vectors(len(objective.pairs), dimensions, seed=seed)
    momentum, square, gradient = (np.zeros_like(vectors) for _ in range(3))
    sampler = np.random.default_rng([seed % 2**64, 1])
    chances = cumulative_shares(objective)
    sizes = np.bincount(objective.first_levels)
    chunk = batch_size * max(CHUNK // batch_size, 1)
    step = 0
    for _ in track(range(epochs), "learning categories"):
        pairs = sampler.permutation(whole_pairs(objective.pairs, sampler))
        for start in range(0, len(pairs), chunk):
            part = pairs[start : start + chunk]
            step = _descend(
                part,
                sampler.random((len(part), objective.negatives)),
                chances,
                objective.first_levels,
                sizes,
                objective.hierarchy,
                batch_size,
                learning_rate,
                step,
                vectors,
                gradient,
                momentum,
                square,
            )
    return vectors


def whole_pairs(pairs: Array, sampler: np.random.Generator) -> NDArray[np.int64]:
    """Return one key ``target * n + context`` for each pair; a part of a pair is one with that chance."""
    whole = np.floor(pairs)
    whole += sampler.random(pairs.shape) < pairs - whole
    return np.repeat(np.arange(pairs.size), whole.astype(np.int64).ravel())


def cumulative_shares(objective: SkipGram) -> Array:
    """Return the cumulative chances of negatives, shape ``(n, n)``, exactly 1 from the last possible one on."""
    sums = np.cumsum(objective.shares, axis=1)
    return np.asarray(sums / np.where(sums[:, -1:] > 0, sums[:, -1:], 1.0))


@compiled()
def _descend(
    pairs: NDArray[np.int64],
    draws: Array,
    chances: Array,
    first_levels: NDArray[np.int64],
    sizes: NDArray[np.int64],
    hierarchy: float,
    batch_size: int,
    learning_rate: float,
    step: int,
    vectors: Array,
    gradient: Array,
    momentum: Array,
    square: Array,
) -> int:
    """Take one step of Adam a batch; return the number of the last step."""
    flat = (vectors.reshape(-1), gradient.reshape(-1), momentum.reshape(-1), square.reshape(-1))
    for start in range(0, len(pairs), batch_size):
        step += 1
        stop = min(start + batch_size, len(pairs))
        batch_gradient(pairs[start:stop], draws[start:stop], chances, first_levels, sizes, hierarchy, vectors, gradient)
        _adam(flat, learning_rate, step)
    return step


@compiled()
def _adam(flat: tuple[Array, Array, Array, Array], learning_rate: float, step: int) -> None:
    """Move all vectors along their mean slope, in units of its spread (Kingma and Ba 2015)."""
    vectors, gradient, momentum, square = flat
    rate, second = learning_rate / (1 - 0.9**step), 1 / (1 - 0.999**step)
    for place in range(len(vectors)):
        slope = gradient[place]
        momentum[place] += 0.1 * (slope - momentum[place])
        square[place] += 0.001 * (slope * slope - square[place])
        # NumPy's division does not stop to look for a zero
        vectors[place] -= np.true_divide(rate * momentum[place], np.sqrt(second * square[place]) + 1e-8)


@compiled()
def batch_gradient(
    pairs: NDArray[np.int64],
    draws: Array,
    chances: Array,
    first_levels: NDArray[np.int64],
    sizes: NDArray[np.int64],
    hierarchy: float,
    vectors: Array,
    gradient: Array,
) -> None:
    """Write one batch's gradient by both sets of vectors, shape ``(2, n, dims)``: its mean is the objective's.

    Parameters
    ----------
    pairs
        Keys ``target * n + context``, shape ``(batch,)``.
    draws
        Even numbers in ``[0, 1)``, one a negative, shape ``(batch, negatives)``.
    chances
        Cumulative chances of negatives, as of :func:`cumulative_shares`, shape ``(n, n)``.
    first_levels, sizes
        First level of each category, shape ``(n,)``, and how many categories each has.
    hierarchy
        ``lambda``.
    vectors
        Targets and contexts, shape ``(2, n, dims)``.
    gradient
        Where the result goes, shape ``(2, n, dims)``.
    """
    count, weight = vectors.shape[1], 1 / len(pairs)
    _pull(vectors[0], first_levels, sizes, hierarchy, gradient)
    for row in range(len(pairs)):
        target, context = pairs[row] // count, pairs[row] % count
        _push(vectors, target, context, 1.0, weight, gradient)
        for draw in range(draws.shape[1]):
            negative = np.searchsorted(chances[target], draws[row, draw], side="right")
            _push(vectors, target, negative, -1.0, weight, gradient)


@compiled()
def _pull(
    targets: Array, first_levels: NDArray[np.int64], sizes: NDArray[np.int64], hierarchy: float, gradient: Array
) -> None:
    """Start a gradient with the hierarchy's ``2 lambda sum_j w_ij (u_i - u_j)``, by sums over first levels."""
    gradient[:] = 0.0
    if hierarchy == 0.0:
        return
    sums = np.zeros((len(sizes), targets.shape[1]))
    for row in range(len(targets)):
        sums[first_levels[row]] += targets[row]
    for row in range(len(targets)):
        level = first_levels[row]
        gradient[0, row] = 2 * hierarchy * (sizes[level] * targets[row] - sums[level])


@compiled()
def _push(vectors: Array, target: int, context: int, sign: float, weight: float, gradient: Array) -> None:
    """Add the gradient of ``weight * softplus(-sign * u . v)``."""
    one, other = vectors[0, target], vectors[1, context]
    slope = -sign * weight / (1 + np.exp(sign * _dot(one, other)))
    for axis in range(len(one)):
        gradient[0, target, axis] += slope * other[axis]
        gradient[1, context, axis] += slope * one[axis]


@compiled()
def _dot(one: Array, other: Array) -> float:
    """Return the dot product in four sums: a processor adds them side by side, in one order on every machine."""
    a = b = c = d = 0.0
    whole = len(one) // 4 * 4
    for axis in range(0, whole, 4):
        a += one[axis] * other[axis]
        b += one[axis + 1] * other[axis + 1]
        c += one[axis + 2] * other[axis + 2]
        d += one[axis + 3] * other[axis + 3]
    for axis in range(whole, len(one)):
        a += one[axis] * other[axis]
    return (a + b) + (c + d)
