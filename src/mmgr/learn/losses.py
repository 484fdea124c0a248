"""The contrastive losses: images with images, and images with points of interest.

Both ask one question: of all candidates in the batch, which vector belongs to mine? The answer is a
softmax over cosine similarities ``s`` divided by a temperature ``T``,

    loss_i = -log( exp(s_ip / T) / sum over candidates j of exp(s_ij / T) ),

with ``p`` the one right candidate of ``i`` (Bai et al. 2023, section 3.4). A loss beside which the answer is
a mere guess is the log of the number of candidates: its *chance*. Look at it before anything else.

Similarities are one matrix product, in float32 whatever the input; nothing of size ``B^2 d`` is made.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize


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
) -> Contrast:
    """Contrast ``B`` pairs over the joint batch of ``2 B`` vectors (NT-Xent, the paper's loss).

    The positive of ``a_i`` is ``b_i`` and the reverse; all other ``2 (B - 1)`` vectors are negatives,
    those of the same kind too. Chance is ``ln(2 B - 1)``.

    Parameters
    ----------
    a, b
        Vectors of the pairs, shape ``(B, d)``; their lengths do not matter.
    temperature
        What cosine similarities are divided by.
    not_negative
        Pairs of regions that are no negatives of each other, symmetric, shape ``(B, B)``.
    present
        Pairs that exist, shape ``(B,)``; others are neither positives nor negatives.
    """
    size = len(a)
    z = torch.cat([a, b])  # (2B, d)
    logits = _cosine(z, z) / temperature  # (2B, 2B)
    own = torch.eye(size, dtype=torch.bool, device=a.device)
    candidate = _candidates(own, not_negative, present)  # (B, B), pairs of regions
    same_kind = candidate & ~own  # a vector is no candidate for itself
    candidate = torch.cat([torch.cat([same_kind, candidate], 1), torch.cat([candidate, same_kind], 1)])  # (2B, 2B)
    positive = torch.arange(2 * size, device=a.device).roll(size)  # of a_i it is b_i, and the reverse
    return _contrast(logits, candidate, positive, None if present is None else present.repeat(2))


def cross_modal(
    image: Tensor,
    poi: Tensor,
    *,
    temperature: float | Tensor,
    not_negative: Tensor | None = None,
    present: Tensor | None = None,
) -> Contrast:
    """Contrast images with POIs across modalities only, in both directions (symmetric InfoNCE).

    The candidates of an image are the batch's POI vectors, and the reverse. Chance is ``ln(B)``.

    Parameters
    ----------
    image, poi
        Vectors of the ``B`` regions, shape ``(B, d)``; their lengths do not matter.
    temperature
        What cosine similarities are divided by.
    not_negative
        Pairs of regions that are no negatives of each other, symmetric, shape ``(B, B)``.
    present
        Regions that have POIs, shape ``(B,)``; others are neither positives nor negatives.
    """
    logits = _cosine(image, poi) / temperature  # (B, B)
    own = torch.eye(len(image), dtype=torch.bool, device=image.device)
    candidate = _candidates(own, not_negative, present)
    positive = torch.arange(len(image), device=image.device)
    there = _contrast(logits, candidate, positive, present)
    back = _contrast(logits.T, candidate.T, positive, present)
    return Contrast((there.loss + back.loss) / 2, (there.chance + back.chance) / 2)


@torch.no_grad()
def retrieval(
    a: Tensor, b: Tensor, *, not_negative: Tensor | None = None, present: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return how often the nearest ``b`` of an ``a`` is its own, and how often a guess would be.

    Arguments are those of :func:`cross_modal`; pairs that are no negatives are not asked for.
    """
    own = torch.eye(len(a), dtype=torch.bool, device=a.device)
    candidate = _candidates(own, not_negative, present)
    similarity = _cosine(a, b).masked_fill(~candidate, -torch.inf)  # (B, B)
    asked = own.new_ones(len(a)) if present is None else present
    hit = (similarity.argmax(1) == torch.arange(len(a), device=a.device)).float()
    return _mean(hit, asked), _mean(1 / candidate.sum(1), asked)


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    """Return the cosine similarity of each ``a`` with each ``b``, shape ``(len(a), len(b))``, float32."""
    with torch.autocast(a.device.type, enabled=False):  # it would make the product bfloat16 again
        return normalize(a.float(), dim=1) @ normalize(b.float(), dim=1).T


def _candidates(own: Tensor, not_negative: Tensor | None, present: Tensor | None) -> Tensor:
    """Say for each pair of regions whether the second is a candidate of the first, shape ``(B, B)``."""
    candidate = torch.ones_like(own)
    if not_negative is not None:
        candidate = candidate & ~not_negative
    if present is not None:
        candidate = candidate & present[None, :] & present[:, None]
    return candidate | own


def _contrast(logits: Tensor, candidate: Tensor, positive: Tensor, present: Tensor | None) -> Contrast:
    """Return the mean cross-entropy of the rows of ``logits`` that are present."""
    if present is None:
        present = torch.ones_like(positive, dtype=torch.bool)
    # an absent row keeps only its positive: its loss is log(1) = 0 with no gradient, and never NaN
    logits = logits.masked_fill(~candidate, -torch.inf)
    loss = logits.logsumexp(1) - logits.gather(1, positive[:, None]).squeeze(1)  # (rows,)
    return Contrast(_mean(loss, present), _mean(candidate.sum(1).float().log(), present))


def _mean(values: Tensor, present: Tensor) -> Tensor:
    """Return the mean over what is present; 0 where nothing is."""
    return (values * present).sum() / present.sum().clamp(min=1)
