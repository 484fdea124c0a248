"""Bundles: a trained model as a folder that is safe to load from strangers.

`model.safetensors` (weights), `config.yaml` (recipe), `taxonomy.json` (POI categories) and `manifest.json`
(SHA-256 of the others, versions, seed, where it came from). No pickle is ever read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from mmgr.console import log
from mmgr.errors import ArtefactError, ConfigError, PoiError
from mmgr.files import check_replaceable, check_schema, read_json, sha256, write_aside, write_json
from mmgr.learn.embed import check_bands
from mmgr.learn.model import MultiModalModel
from mmgr.learn.recipes import Recipe
from mmgr.store import RegionStore
from mmgr.taxonomy import Taxonomy
from mmgr.transfer import category_table

SCHEMA_VERSION = 1
"""Version of the files in a bundle."""

_FILES = ("model.safetensors", "config.yaml", "taxonomy.json")
_UNREADABLE = (
    yaml.YAMLError,
    SafetensorError,
    ConfigError,
    PoiError,
    ValueError,  # of text that is no UTF-8 and of settings, too
    LookupError,
    TypeError,
    AttributeError,
    RuntimeError,
)
"""What files raise that somebody changed, and gave a manifest that fits."""


OTHER_SCALE = 1.2
"""Pixels that differ by more than this factor in metres show things at another size."""


@dataclass(frozen=True, slots=True)
class PatchSize:
    """How large the patches are that a model was trained on."""

    pixels: int
    """Edge in pixels."""
    edge: float
    """Edge of a region in metres; 0 where that is not known."""

    def __post_init__(self) -> None:
        if not isinstance(self.pixels, Integral) or self.pixels < 0:
            raise ValueError(f"patches have a whole number of pixels, not {self.pixels!r}")
        if not isinstance(self.edge, Real) or not 0 <= self.edge < math.inf:
            raise ValueError(f"regions have an edge of so many metres, not {self.edge!r}")

    @classmethod
    def of(cls, store: RegionStore) -> PatchSize:
        """Return the size of a store's patches."""
        return cls(store.info.pixels, store.info.edge)

    @property
    def scale(self) -> float:
        """Metres a pixel; 0 where that is not known."""
        return self.edge / self.pixels if self.pixels else 0.0

    def __str__(self) -> str:
        metres = f" ({self.scale:.3g} m a pixel)" if self.scale else ""
        return f"{self.pixels} x {self.pixels} pixels{metres}"

    def differs(self, other: PatchSize) -> bool:
        """Say whether patches of another size show other things, or the same ones larger or smaller."""
        scales = sorted((self.scale, other.scale))
        return self.pixels != other.pixels or (scales[0] > 0 and scales[1] / scales[0] > OTHER_SCALE)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A trained model and what it was made of."""

    model: MultiModalModel
    """In evaluation mode, on the CPU."""
    recipe: Recipe
    taxonomy: Taxonomy
    """The POI categories that the model knows; empty for images alone."""
    manifest: dict[str, Any]
    """`schema_version`, `software`, `seed`, `provenance`, and `files` with their SHA-256."""
    patches: PatchSize | None = None
    """What the model was trained on, where that is known."""


def save_bundle(
    folder: Path,
    model: MultiModalModel,
    recipe: Recipe,
    taxonomy: Taxonomy,
    provenance: Mapping[str, Any],
    patches: PatchSize | None = None,
) -> None:
    """Write a bundle, whole or not at all.

    Parameters
    ----------
    folder
        Where; a bundle that is there is replaced, and nothing else.
    model
        What was trained.
    recipe
        How.
    taxonomy
        The POI categories of the model's category vectors.
    provenance
        Anything that tells where the model comes from; its `seed` stands in the manifest.
    patches
        The size of the patches that it was trained on, where that is known.

    Raises
    ------
    ConfigError
        If the folder holds something that is no bundle.
    """
    check_place(folder)
    weights = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    shape = {
        "bands": model.bands,
        "categories": model.categories,
        "dimensions": _dimensions(model),
        "around": model.around,
    }
    with write_aside(folder) as aside:
        aside.mkdir()
        save_file(weights, aside / "model.safetensors")
        settings = {"recipe": recipe.model_dump(mode="json"), "model": shape}
        if patches is not None:
            settings["patches"] = asdict(patches)
        (aside / "config.yaml").write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
        write_json(aside / "taxonomy.json", taxonomy.to_json())
        manifest = {
            "schema_version": SCHEMA_VERSION,
            "software": version("mmgr"),
            "seed": provenance.get("seed"),
            "provenance": dict(provenance),
            "files": {name: sha256(aside / name) for name in _FILES},
        }
        write_json(aside / "manifest.json", manifest)


def check_place(folder: Path) -> None:
    """Check that a bundle can be written to a folder and replaces at most another bundle.

    Raises
    ------
    ConfigError
        If it holds something else.
    """
    check_replaceable(folder, ("manifest.json", "taxonomy.json"), what="a bundle", instead="name another folder")


def load_bundle(folder: str | Path) -> Bundle:
    """Read a bundle and check every file of it.

    Raises
    ------
    ArtefactError
        If a file is missing, is not what the manifest says, or is of another version, or if they do not fit together.
    """
    folder = Path(folder)
    manifest = read_json(folder / "manifest.json")
    _check(folder, manifest)
    try:
        settings = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        recipe, shape = Recipe.model_validate(settings["recipe"]), settings["model"]
        taxonomy = Taxonomy.from_json(read_json(folder / "taxonomy.json"))
        weights = load_file(folder / "model.safetensors")
        # the weights are in the bundle: the file or hub that they once started from is not asked
        start = recipe.model_copy(update={"weights": "random"})
        vectors = weights["poi_encoder.vectors"].numpy() if shape["categories"] else None
        model = MultiModalModel(start, vectors, shape["bands"], shape.get("around", 0))
        model.load_state_dict(weights)
        patches = PatchSize(**settings["patches"]) if "patches" in settings else None
        _check_taxonomy(taxonomy, model)
    except _UNREADABLE as error:
        raise ArtefactError(f"{folder} is not a bundle that this MMGR can read: {error}") from error
    return Bundle(model.eval(), recipe, taxonomy, manifest, patches)


def check_bundle(bundle: Bundle, store: RegionStore) -> None:
    """Check that the model of a bundle can embed a store.

    Patches of another size than it was trained on are told of: it sees them, but things in them have other sizes.

    Raises
    ------
    ArtefactError
        If the store has other bands, or categories of POIs that the model cannot read
        (:func:`mmgr.transfer.transferred`).
    """
    check_bands(bundle.model, store)
    category_table(bundle.model, bundle.taxonomy, store)
    _tell_other_sizes(bundle, PatchSize.of(store), store)


def _tell_other_sizes(bundle: Bundle, here: PatchSize, store: RegionStore) -> None:
    there = bundle.patches
    if there is not None and here.differs(there):
        log.warning(
            "%s has patches of %s, and the bundle's model was trained on %s: it may know less of them than of its own; "
            "`regions.size` and `regions.pixels` choose both",
            store.path, here, there,
        )  # fmt: skip
    crop = bundle.recipe.crop
    if here.pixels < crop and (there is None or there.pixels >= crop):
        log.warning(
            "%s has patches of %d pixels, which are enlarged to the %d that the bundle's model sees; set "
            "`regions.pixels` to at least that where the images have them",
            store.path, here.pixels, crop,
        )  # fmt: skip


def _check(folder: Path, manifest: Any) -> None:
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise ArtefactError(f"{folder / 'manifest.json'} is not the manifest of a bundle.")
    check_schema(manifest.get("schema_version"), SCHEMA_VERSION, path=folder, stage="pretrain")
    strange = sorted(map(str, manifest["files"].keys() - set(_FILES)))
    if strange:
        raise ArtefactError(
            f"{folder / 'manifest.json'} names files that a bundle does not have ({', '.join(strange)}); nothing of it "
            "was read. Do not use this bundle; copy it again from where it came."
        )
    for name in _FILES:
        path = folder / name
        if not path.is_file():
            raise ArtefactError(f"{path} is missing; the bundle is not whole. Copy it again.")
        if sha256(path) != manifest["files"].get(name):
            raise ArtefactError(
                f"{path} is not the file that manifest.json names (its SHA-256 differs): it was changed or torn. "
                "Do not use this bundle; copy it again from where it came."
            )


def _check_taxonomy(taxonomy: Taxonomy, model: MultiModalModel) -> None:
    if model.categories and len(taxonomy) != model.categories:
        raise ValueError(f"taxonomy.json names {len(taxonomy)} categories, and the model knows {model.categories}")


def _dimensions(model: MultiModalModel) -> int:
    vectors = model.category_vectors
    return 0 if vectors is None else int(vectors.shape[1])
