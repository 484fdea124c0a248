"""Pools: a set of vectors becomes one, whatever the order and the number of its members.

All sets of a batch lie in one list of ``m`` items; an item that stands for ``n`` equal ones is worth ``n``.

What items take of their set is selected by `index_select`: the gradient of brackets is added up by several threads in
whatever order they come, from some ten thousand numbers on, and its last digits are others each time.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Set2Set(nn.Module):
    """Read a set by attention, several times (Vinyals, Bengio, Kudlur 2016, equations 3 to 7).

    In each step an LSTM makes a query, the query weighs the set's items, and their weighted mean goes back
    to the LSTM. The order of the items does not matter. An item that stands for ``n`` equal ones gets
    ``log n`` on its logit, which equals ``n`` repeated items exactly.

    A set without items has a readout of zeros in each step, so that its output is that of the LSTM alone.
    """

    def __init__(self, channels: int, steps: int) -> None:
        super().__init__()
        self.features = 2 * channels
        self.steps = steps
        self.lstm = nn.LSTM(2 * channels, channels)

    def forward(self, items: Tensor, owner: Tensor, count: Tensor, sets: int) -> Tensor:
        """Read ``B`` sets.

        Parameters
        ----------
        items
            Vectors of all sets' items, shape ``(m, channels)``.
        owner
            Set of each item, shape ``(m,)``, int64.
        count
            How many equal items each stands for, shape ``(m,)``.
        sets
            ``B``.

        Returns
        -------
        Shape ``(B, 2 * channels)``: the last query and its readout.
        """
        channels = items.shape[1]
        output = items.new_zeros(sets, 2 * channels)
        state = (items.new_zeros(1, sets, channels), items.new_zeros(1, sets, channels))
        log_count = count.log()  # (m,)
        for _ in range(self.steps):
            query, state = self.lstm(output[None], state)
            query = query[0]  # (B, channels)
            logits = (items * query.index_select(0, owner)).sum(1) + log_count  # (m,)
            weight = ragged_softmax(logits, owner, sets)
            readout = torch.zeros_like(query).index_add(0, owner, weight[:, None] * items)  # (B, channels)
            output = torch.cat([query, readout], 1)
        return output


class MeanPool(nn.Module):
    """The mean of a set; zeros for one without items."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.features = channels

    def forward(self, items: Tensor, owner: Tensor, count: Tensor, sets: int) -> Tensor:
        """Read ``B`` sets to shape ``(B, channels)``; arguments are those of :meth:`Set2Set.forward`."""
        total = items.new_zeros(sets, items.shape[1]).index_add(0, owner, count[:, None] * items)
        size = count.new_zeros(sets).index_add(0, owner, count)
        return total / torch.where(size > 0, size, 1)[:, None]


class QueryPool(nn.Module):
    """Learned queries that each look at a set in their own way: pooling by attention with several heads.

    Head ``h`` weighs item ``i`` by ``n_i * exp(q_h . x_i)`` and returns the mean of ``V_h x_i`` under these
    weights (Lee et al. 2019, section 3.2, with the query folded into its keys). Every head also sees one
    item that is in all sets, whose weight and value are learned: a set without items has an answer, and a
    large set outweighs it where a small one does not. A softmax over the items alone would forget how many
    there are.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        each = max(2 * channels // heads, 1)
        self.features = heads * each
        self.query = nn.Linear(channels, heads)
        self.value = nn.Linear(channels, self.features)
        self.empty_logit = nn.Parameter(torch.zeros(heads))
        self.empty_value = nn.Parameter(torch.zeros(heads, each))

    def forward(self, items: Tensor, owner: Tensor, count: Tensor, sets: int) -> Tensor:
        """Read ``B`` sets to shape ``(B, features)``; arguments are those of :meth:`Set2Set.forward`."""
        logits = self.query(items) + count.log()[:, None]  # (m, H)
        values = self.value(items).view(len(items), *self.empty_value.shape)  # (m, H, features / H)
        logits = torch.cat([logits, self.empty_logit.to(logits.dtype).expand(sets, -1)])
        values = torch.cat([values, self.empty_value.to(values.dtype).expand(sets, -1, -1)])
        owner = torch.cat([owner, torch.arange(sets, device=owner.device)])
        weight = ragged_softmax(logits, owner, sets)  # (m + B, H)
        pooled = values.new_zeros(sets, *values.shape[1:]).index_add(0, owner, weight[..., None] * values)
        return pooled.flatten(1)


def ragged_softmax(logits: Tensor, owner: Tensor, sets: int) -> Tensor:
    """Return the softmax of logits within each set; both have shape ``(m,)``, or ``(m, H)`` for ``H`` at once."""
    # softmax does not change when each set's largest logit is taken off, and exp cannot overflow then
    place = owner.view(-1, *[1] * (logits.ndim - 1)).expand_as(logits)
    largest = logits.new_full((sets, *logits.shape[1:]), -torch.inf).scatter_reduce(0, place, logits.detach(), "amax")
    weight = (logits - largest[owner]).exp()
    total = logits.new_zeros(sets, *logits.shape[1:]).index_add(0, owner, weight)
    return weight / total.index_select(0, owner)
