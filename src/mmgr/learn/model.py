"""The model: two encoders that meet in one space, and its losses (Bai et al. 2023, figure 2).

    patch -> two views -> image encoder -> h (B, F) -> image head -> z (B, 128)   intra-modal: z1 with z2
    POIs  -> category vectors -> a pool  -> g (B, P) -> POI head  -> u (B, 128)   inter-modal: z1 with u

    loss = lambda * intra + (1 - lambda) * inter                                  (+ the recipe's side task)

What is kept afterwards is ``h`` and ``g``; the heads are thrown away.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mmgr.learn.devices import uses_bfloat16
from mmgr.learn.edges import edges_near, nearest_edge
from mmgr.learn.encoders import has_fixed_size, image_encoder, view_scale
from mmgr.learn.feature_maps import WithMaps, pools_maps
from mmgr.learn.losses import Contrast, cross_modal, nt_xent, retrieval
from mmgr.learn.places import seen_in_patches
from mmgr.learn.poi_batch import PoiBatch
from mmgr.learn.poi_encoders import PoiEncoder
from mmgr.learn.recipes import Recipe
from mmgr.learn.share import Share
from mmgr.store import PoiBags

LEAST_TEMPERATURE = 0.01
"""A learned temperature does not fall below this: similarities would become a step."""


@dataclass(frozen=True, slots=True)
class LossParts:
    """The losses of one batch, each beside its chance, all scalars; NaN where the recipe has no such loss."""

    total: Tensor
    """What is minimised."""
    intra: Tensor
    intra_chance: Tensor
    inter: Tensor
    inter_chance: Tensor
    counts: Tensor
    counts_chance: Tensor
    view_retrieval: Tensor
    """Part of first views whose nearest second view in the batch is their own."""
    view_retrieval_chance: Tensor
    poi_retrieval: Tensor
    """Part of first views whose nearest POIs in the batch are their own."""
    poi_retrieval_chance: Tensor
    temperature: Tensor
    """The inter-modal temperature."""
    features: Tensor
    """Image features of the first views, detached, shape ``(B, F)``."""
    projections: Tensor
    """What the losses see of them, ``z``, detached, shape ``(B, 128)``."""


class MultiModalModel(nn.Module):
    """The image and POI encoders with their heads.

    Parameters
    ----------
    recipe
        Every choice.
    vectors
        Category vectors, shape ``(categories, dimensions)``; None for a recipe without POIs.
    bands
        Bands of a patch.
    around
        Dimensions of what lies around a region, of POIs; 0 where that is not known.
    """

    def __init__(self, recipe: Recipe, vectors: NDArray[np.float32] | None, bands: int, around: int = 0) -> None:
        super().__init__()
        if recipe.uses_pois and vectors is None:
            raise ValueError(f"recipe {recipe.name} needs category vectors")
        self.recipe = recipe
        self.bands = bands
        self.around = around if recipe.uses_pois and recipe.pois_around else 0
        self.image_encoder, features = image_encoder(
            recipe.encoder, weights=recipe.weights, bands=bands, crop=recipe.crop, weights_bands=recipe.weights_bands
        )
        self.image_encoder.to(memory_format=torch.channels_last)
        self.training_encoder: Callable[[Tensor], Tensor] | None = None
        self.image_features = features
        # part of the model, so that a bundle knows what its weights expect
        factor, summand = view_scale(self.image_encoder, recipe, bands)
        self.view_factor: Tensor
        self.view_summand: Tensor
        self.register_buffer("view_factor", factor)
        self.register_buffer("view_summand", summand)
        self.image_head = _head(features, recipe.image_hidden or features, recipe.projection)
        if not recipe.uses_pois or vectors is None:
            return
        categories = len(vectors)
        self.poi_encoder = PoiEncoder(
            torch.from_numpy(np.ascontiguousarray(vectors)),
            pool=recipe.poi_encoder,
            steps=recipe.poi_steps,
            heads=recipe.poi_heads,
            positions=recipe.poi_positions,
        )
        self.poi_head = _head(self.poi_encoder.features + self.around, recipe.poi_hidden, recipe.projection)
        self.counts_head = nn.Linear(features, categories + self.around) if recipe.counts_weight else None
        self.density_mean: Tensor
        self.density_spread: Tensor
        self.register_buffer("density_mean", torch.zeros(categories))
        self.register_buffer("density_spread", torch.ones(categories))
        self.log_temperature = nn.Parameter(
            torch.tensor(math.log(recipe.inter_temperature)), requires_grad=recipe.learn_temperature
        )

    @property
    def temperature(self) -> Tensor:
        """The inter-modal temperature, a scalar."""
        return self.log_temperature.exp().clamp(min=LEAST_TEMPERATURE)

    @property
    def categories(self) -> int:
        """Categories of POIs that the model knows; 0 for images alone."""
        return len(self.poi_encoder.vectors) if self.recipe.uses_pois else 0

    @property
    def category_vectors(self) -> NDArray[np.float32] | None:
        """The category vectors, shape ``(categories, dimensions)``; None for images alone."""
        return self.poi_encoder.vectors.cpu().numpy() if self.recipe.uses_pois else None

    @property
    def poi_features(self) -> int:
        """Length of :meth:`describe_pois`; 0 for images alone."""
        if not self.recipe.uses_pois:
            return 0
        densities = self.poi_encoder.vectors.shape[1] if self.recipe.density_features else 0
        return self.poi_encoder.features + int(densities)

    def encode_images(self, views: Tensor) -> Tensor:
        """Turn normalised views, shape ``(B, C, crop, crop)``, into features ``h``, shape ``(B, F)``, float32."""
        views = torch.addcmul(self.view_summand, self.view_factor, views)
        encoder = self.training_encoder if self.training and self.training_encoder else self.image_encoder
        with self._autocast(views.device):
            features: Tensor = encoder(views.contiguous(memory_format=torch.channels_last))
        return features.float()

    @property
    def pools_maps(self) -> bool:
        """Whether a description holds the means and spreads of the encoder's maps, too."""
        return self.recipe.feature_maps and pools_maps(self.image_encoder)

    @cached_property
    def whole_edge(self) -> int:
        """Edge in pixels of whole patches at embedding: the recipe's, or the one that the encoder is built for.

        Where the encoder cannot see the recipe's, it is the nearest multiple of 32 that it can, and a `ConfigError`
        where there is none.
        """
        fixed = has_fixed_size(self.recipe.encoder)
        edges = (self.recipe.crop,) if fixed else edges_near(self.recipe.whole_edge)
        return nearest_edge(self.describe_images, self, bands=self.bands, edges=edges)

    def describe_images(self, views: Tensor) -> Tensor:
        """Turn normalised whole patches, shape ``(B, C, H, W)``, into what is kept of them, shape ``(B, D)``, float32.

        It is the features ``h`` and, where the recipe pools maps and the encoder has them, their means and spreads.
        """
        if not self.pools_maps:
            return self.encode_images(views)
        views = torch.addcmul(self.view_summand, self.view_factor, views)
        with self._autocast(views.device):
            described: Tensor = WithMaps(self.image_encoder)(views.contiguous(memory_format=torch.channels_last))
        return described.float()

    def encode_pois(self, pois: PoiBatch) -> Tensor:
        """Turn the POIs of ``B`` regions into features ``g``, shape ``(B, P)``, float32."""
        features: Tensor = self.poi_encoder(pois.category, pois.count, pois.owner, len(pois), pois.place)
        return features

    def project_pois(self, pois: PoiBatch) -> Tensor:
        """Turn the POIs of ``B`` regions, and those around, into what images meet, ``u``, shape ``(B, 128)``."""
        features = self.encode_pois(pois)
        projected: Tensor = self.poi_head(torch.cat([features, pois.around], 1) if self.around else features)
        return projected

    def describe_pois(self, pois: PoiBatch) -> Tensor:
        """Return the POI part of an embedding, shape ``(B, poi_features)``.

        It is the POI encoder's readout and, beside it, the sum over categories of ``log(1 + POIs per km2)`` times
        the category's vector. Set2Set's readout is a weighted mean: its softmax forgets how many POIs there are,
        which is what says most of how many people there are. The sum keeps it.

        Where views met the POIs inside their crops, the readout is that of the POIs inside the whole patch.
        """
        features = self.encode_pois(seen_in_patches(pois) if self.recipe.crop_pois else pois)
        if not self.recipe.density_features:
            return features
        return torch.cat([features, pois.log_density @ self.poi_encoder.vectors], 1)

    def standardise_densities(self, bags: PoiBags) -> None:
        """Learn the mean and spread of log densities, so that the side task scores 1 by chance."""
        if not self.recipe.uses_pois or not bags.known.any():
            return
        known = np.log1p(bags.take(np.flatnonzero(bags.known)).densities(self.categories).astype(np.float64))
        spread = known.std(0)
        spread[spread < 1e-6] = 1  # a category that is the same everywhere
        self.density_mean.copy_(torch.from_numpy(known.mean(0)))
        self.density_spread.copy_(torch.from_numpy(spread))

    def losses(
        self,
        views: tuple[Tensor, Tensor],
        pois: PoiBatch,
        not_negative: Tensor | None = None,
        near: Tensor | None = None,
        seen: tuple[PoiBatch, PoiBatch] | None = None,
        share: Share | None = None,
    ) -> LossParts:
        """Compute the losses of a batch.

        Parameters
        ----------
        views
            Two views of each of ``B`` regions, normalised, shape ``(B, C, crop, crop)`` each.
        pois
            The POIs of the regions; those without are in no inter-modal pair.
        not_negative
            Pairs of regions that are no inter-modal negatives, shape ``(B, B)``; by default none.
        near
            Pairs of regions that are no intra-modal negatives, shape ``(B, B)``; by default none.
        seen
            The POIs that each view meets, where that is not all of its region's.
        share
            Of a batch that several processes share: views and POIs are those of this process's ``b`` regions (of any
            where it has none), and the masks have shape ``(b, B)``. All that is returned is of the whole batch.
        """
        recipe = self.recipe
        share = Share.of(len(views[0])) if share is None else share
        own = slice(share.sizes[share.rank])  # without a region, one of another process stands in until here
        # h (2B, F); one pass has one set of batch statistics, as many passes have as many
        passes = (torch.cat(views),) if recipe.views_together else views
        features = torch.cat([self.encode_images(some) for some in passes])
        z1, z2 = (z[own] for z in self.image_head(features).chunk(2))  # (B, 128) each
        intra = nt_xent(z1, z2, temperature=recipe.temperature, not_negative=near, share=share)
        view_retrieval = retrieval(z1, z2, not_negative=near, share=share)
        nothing = features.new_full((), math.nan)
        total = recipe.intra_weight * intra.loss
        inter = counts = Contrast(nothing, nothing)
        poi_retrieval, temperature = (nothing, nothing), nothing
        if recipe.uses_pois:
            met = seen or (pois,)
            u = [self.project_pois(some)[own] for some in met]  # (B, 128) each
            pairs = [(z, u[k % len(u)], met[k % len(u)].present[own]) for k, z in enumerate((z1, z2))]
            inter = self._inter(pairs if recipe.both_views_meet_pois else pairs[:1], not_negative, share)
            total = total + (1 - recipe.intra_weight) * inter.loss
            present = met[0].present[own]
            poi_retrieval = retrieval(z1, u[0], not_negative=not_negative, present=present, share=share)
            temperature = self.temperature.detach()
        if recipe.counts_weight:
            counts = self._counts(features, pois, share)
            total = total + recipe.counts_weight * counts.loss
        return LossParts(
            total=total,
            intra=intra.loss.detach(),
            intra_chance=intra.chance,
            inter=inter.loss.detach(),
            inter_chance=inter.chance,
            counts=counts.loss.detach(),
            counts_chance=counts.chance,
            view_retrieval=view_retrieval[0],
            view_retrieval_chance=view_retrieval[1],
            poi_retrieval=poi_retrieval[0],
            poi_retrieval_chance=poi_retrieval[1],
            temperature=temperature,
            features=share.gather(features[own].detach()),
            projections=share.gather(z1.detach()),
        )

    def _inter(
        self, pairs: Sequence[tuple[Tensor, Tensor, Tensor]], not_negative: Tensor | None, share: Share
    ) -> Contrast:
        """Contrast views ``z`` with the POIs ``u`` that they meet, each ``(B, 128)``, where some are present."""
        contrast = nt_xent if self.recipe.negatives == "joint" else cross_modal
        parts = [
            contrast(z, u, temperature=self.temperature, not_negative=not_negative, present=present, share=share)
            for z, u, present in pairs
        ]
        return Contrast(
            torch.stack([part.loss for part in parts]).mean(), torch.stack([part.chance for part in parts]).mean()
        )

    def _counts(self, features: Tensor, pois: PoiBatch, share: Share) -> Contrast:
        """Predict from each view what lies around, or else the standardised log densities; chance is the mean's."""
        assert self.counts_head is not None  # noqa: S101 - the caller asks for it only where there is one
        inside = (pois.log_density - self.density_mean) / self.density_spread  # (B, categories)
        around = pois.around if self.around else inside[:, :0]  # (B, A)
        sizes = inside.shape[1], around.shape[1]
        predicted = self.counts_head(features).view(2, len(pois), sum(sizes)).split(sizes, 2)
        surrounded = pois.surrounded & bool(self.around)

        def mean_square(of_inside: Tensor, of_around: Tensor) -> Tensor:
            return torch.where(surrounded, of_around.square().sum(-1) / max(sizes[1], 1), of_inside.square().mean(-1))

        known = (pois.known | surrounded) & (torch.arange(len(pois), device=features.device) < share.sizes[share.rank])
        errors = mean_square(predicted[0] - inside, predicted[1] - around).mean(0)  # (B,)
        return Contrast(share.mean(errors, known), share.mean(mean_square(inside, around), known))

    def _autocast(self, device: torch.device) -> AbstractContextManager[None]:
        return torch.autocast(device.type, torch.bfloat16, enabled=uses_bfloat16(self.recipe, device))


def seeded_model(
    recipe: Recipe, table: NDArray[np.float32] | None, bands: int, seed: int, around: int = 0
) -> MultiModalModel:
    """Make a model whose first weights depend on the seed alone; the global generator stays as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MultiModalModel(recipe, table, bands, around)


def _head(features: int, hidden: int, projection: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, projection))
