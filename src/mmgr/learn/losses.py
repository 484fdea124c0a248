"""The contrastive losses: images with images, and images with points of interest.

Both ask one question: of all candidates in the batch, which vector belongs to mine? The answer is a
softmax over cosine similarities ``s`` divided by a temperature ``T``,

    loss_i = -log( exp(s_ip / T) / sum over candidates j of exp(s_ij / T) ),

with ``p`` the one right candidate of ``i`` (Bai et al. 2023, section 3.4). A loss beside which the answer is
a mere guess is the log of the number of candidates: its *chance*. Look at it before anything else.

Similarities are in float32 whatever the input, and never all there at once: rows are worked off in blocks, which
leave their gradient behind. So memory grows with ``B``, but for the mask of ``B^2`` bytes, where there is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import normalize

from mmgr.learn.share import Share

BLOCK = 2**22
"""Similarities that are there at once."""


@dataclass(frozen=True, slots=True)
class Contrast:
    """A contrastive loss and what guessing would score."""

    loss: Tensor
    """Mean over the vectors that have a positive; exactly 0, without gradient, where none has."""
    chance: Tensor
    """Mean log of the number of candidates."""


def nt_xent(
    a: Tensor,
    b: Tensor,
    *,
    temperature: float | Tensor,
    not_negative: Tensor | None = None,
    present: Tensor | None = None,
    share: Share | None = None,
) -> Contrast:
    """Contrast ``B`` pairs over the joint batch of ``2 B`` vectors (NT-Xent, the paper's loss).

    The positive of ``a_i`` is ``b_i`` and the reverse; all other ``2 (B - 1)`` vectors are negatives,
    those of the same kind too. Chance is ``ln(2 B - 1)``.

    Parameters
    ----------
    a, b
        Vectors of the pairs, shape ``(B, d)``; their lengths do not matter.
    temperature
        What cosine similarities are divided by; it is learned where it needs a gradient.
    not_negative
        Pairs of regions that are no negatives of each other, symmetric, shape ``(B, B)``.
    present
        Pairs that exist, shape ``(B,)``; others are neither positives nor negatives.
    share
        Of a batch that several processes share: all of the above are this process's ``b`` rows, ``not_negative`` of
        shape ``(b, B)``. Loss and chance are the whole batch's on each process; for gradients see
        :mod:`mmgr.learn.share`.
    """
    return _both_ways(a, b, temperature, _Pairs.of(a, not_negative, present, share), joint=True)


def cross_modal(
    image: Tensor,
    poi: Tensor,
    *,
    temperature: float | Tensor,
    not_negative: Tensor | None = None,
    present: Tensor | None = None,
    share: Share | None = None,
) -> Contrast:
    """Contrast images with POIs across modalities only, in both directions (symmetric InfoNCE).

    The candidates of an image are the batch's POI vectors, and the reverse. Chance is ``ln(B)``.

    Parameters
    ----------
    image, poi
        Vectors of the ``B`` regions, shape ``(B, d)``; their lengths do not matter.
    temperature, not_negative, share
        As :func:`nt_xent`.
    present
        Regions that have POIs, shape ``(B,)``; others are neither positives nor negatives.
    """
    return _both_ways(image, poi, temperature, _Pairs.of(image, not_negative, present, share), joint=False)


@torch.no_grad()
def retrieval(
    a: Tensor,
    b: Tensor,
    *,
    not_negative: Tensor | None = None,
    present: Tensor | None = None,
    share: Share | None = None,
) -> tuple[Tensor, Tensor]:
    """Return how often the nearest ``b`` of an ``a`` is its own, and how often a guess would be.

    Arguments are those of :func:`cross_modal`; pairs that are no negatives are not asked for.
    """
    pairs = _Pairs.of(a, not_negative, present, share)
    anchors, candidates = _unit(a), pairs.share.gather(_unit(b))
    hit = anchors.new_zeros(len(anchors))
    with torch.autocast(a.device.type, enabled=False):
        for rows in _blocks(len(anchors), len(candidates)):
            similarity = anchors[rows] @ candidates.T  # (c, B)
            if pairs.forbidden is not None:
                similarity.masked_fill_(pairs.forbidden[rows], -torch.inf)
            hit[rows] = (similarity.argmax(1) == pairs.own[rows]).to(hit.dtype)
    return pairs.mean(hit), pairs.mean(1 / pairs.candidates)


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Which regions this process's ``b`` regions are contrasted with, of the whole batch's ``B``."""

    share: Share
    own: Tensor
    """Place of own regions in the batch, shape ``(b,)``."""
    weight: Tensor
    """What each own region counts in a mean over the whole batch, shape ``(b,)``; 0 where it is absent."""
    forbidden: Tensor | None
    """Regions of the batch that are no candidates of own ones, shape ``(b, B)``, bool."""

    @classmethod
    def of(cls, a: Tensor, not_negative: Tensor | None, present: Tensor | None, share: Share | None) -> _Pairs:
        share = Share.of(len(a)) if share is None else share
        own = torch.arange(share.own.start, share.own.stop, device=a.device)
        forbidden = not_negative
        if present is None:
            weight = torch.full((len(a),), 1 / share.total, dtype=_precision(a), device=a.device)
        else:
            everywhere = share.gather(present)  # (B,)
            weight = present.to(_precision(a)) / everywhere.sum().clamp(min=1)
            absent = ~(present[:, None] & everywhere)  # (b, B)
            forbidden = absent if forbidden is None else absent.logical_or_(forbidden)
        if forbidden is not None:  # one's own is a candidate always, and a loss of log(1) = 0 is no NaN
            forbidden = forbidden.scatter(1, own[:, None], value=False)
        return cls(share, own, weight, forbidden)

    @property
    def candidates(self) -> Tensor:
        """How many regions each own one is contrasted with, itself included, shape ``(b,)``."""
        total = torch.full_like(self.weight, self.share.total)
        return total if self.forbidden is None else total - self.forbidden.sum(1)

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean over the whole batch's present regions of own values, shape ``(b,)``."""
        return self.share.add(values @ self.weight)


def _both_ways(a: Tensor, b: Tensor, temperature: float | Tensor, pairs: _Pairs, *, joint: bool) -> Contrast:
    """Contrast each ``a`` with the ``b``, and each ``b`` with the ``a``; ``joint``, with their own kind too."""
    with torch.autocast(a.device.type, enabled=False):  # it would make the products bfloat16 again
        own = _unit(torch.stack([a, b], 1))  # (b, 2, d)
        whole = pairs.share.gather(own)  # (B, 2, d)
        # a number of the host's own would be copied, and the host would wait for that
        scale = 1 / (temperature.to(own) if isinstance(temperature, Tensor) else own.new_full((), temperature))
        loss = _Contrast.apply(own.transpose(0, 1), whole.transpose(0, 1), scale, pairs, joint)
        count = pairs.candidates
        return Contrast(pairs.share.add(loss), pairs.mean((2 * count - 1 if joint else count).log()))


class _Contrast(torch.autograd.Function):
    """The losses of ``b`` own pairs among ``B``, weighted and summed, with their gradient, block by block.

    The gradient of a softmax's cross-entropy is known once its value is: what is kept for the way back has the size of
    the vectors. With ``G`` the gradient with regard to the similarities times ``scale``,

        d anchors = scale * G @ candidates,  d candidates = scale * G.T @ anchors,  d scale = <anchors, G @ candidates>.

    ``own`` and ``whole`` hold the vectors of both kinds, shape ``(2, b, d)`` and ``(2, B, d)``. The ``m`` candidates of
    an anchor are the ``B`` of the other kind, or the ``2 B`` of both in a joint batch.
    """

    @staticmethod
    def forward(ctx: Any, own: Tensor, whole: Tensor, scale: Tensor, pairs: _Pairs, joint: bool) -> Tensor:  # noqa: FBT001 - no keywords here
        learns = any(ctx.needs_input_grad)
        total = whole.shape[1]
        candidates = whole.flatten(0, 1) if joint else whole.flip(0)  # (2 B, d), or (2, B, d)
        # columns of the positive and of the vector itself
        positive = torch.stack([pairs.own + total, pairs.own]) if joint else pairs.own.expand(2, -1)  # (2, b)
        itself = positive.flip(0)
        loss, by_scale = own.new_zeros(()), own.new_zeros(())
        by_own, by_candidates = torch.zeros_like(own), torch.zeros_like(candidates)
        for rows in _blocks(own.shape[1], 2 * candidates.shape[-2]):
            scaled, weight = own[:, rows] * scale, pairs.weight[rows] / 2  # the mean over both ways
            logits = scaled @ candidates.mT  # (2, c, m)
            at_positive = logits.gather(2, positive[:, rows, None])
            if pairs.forbidden is not None:
                by_kind = logits.view(2, len(weight), -1, total)
                by_kind.masked_fill_(pairs.forbidden[rows, None], -torch.inf)
            if joint:
                logits.scatter_(2, itself[:, rows, None], -torch.inf)
            largest = logits.amax(2, keepdim=True)
            likely = logits.sub_(largest).exp_()
            sums = likely.sum(2, keepdim=True)
            loss += ((largest + sums.log() - at_positive).squeeze(2) @ weight).sum()
            if learns:
                part = weight[:, None].expand(2, -1, 1)
                gradient = likely.mul_(part / sums).scatter_add_(2, positive[:, rows, None], -part)  # G
                by_anchors = gradient @ candidates  # (2, c, d)
                by_scale += (own[:, rows] * by_anchors).sum()
                by_own[:, rows] = by_anchors * scale
                by_candidates += (gradient.mT @ scaled).sum_to_size(candidates.shape)
        ctx.save_for_backward(by_own, by_candidates.view_as(whole) if joint else by_candidates.flip(0), by_scale)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return *(saved * gradients[0] for saved in ctx.saved_tensors), None, None


def _precision(vectors: Tensor) -> torch.dtype:
    """Return float32, or what is better."""
    return torch.promote_types(vectors.dtype, torch.float32)


def _unit(vectors: Tensor) -> Tensor:
    """Return vectors of length 1."""
    return normalize(vectors.to(_precision(vectors)), dim=-1)


def _blocks(rows: int, columns: int) -> Iterator[slice]:
    """Yield runs of rows that have at most :data:`BLOCK` similarities."""
    size = max(BLOCK // columns, 1)
    return (slice(start, min(start + size, rows)) for start in range(0, rows, size))
