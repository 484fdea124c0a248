from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
from learn_samples import make_store
from safetensors.torch import save_file
from torch import Tensor, nn

from mmgr.bundle import load_bundle
from mmgr.errors import ArtefactError
from mmgr.learn.embed import embed
from mmgr.reference.checkpoint import architecture, import_checkpoint


class ResearchEncoder(nn.Module):
    """Has the names of the research code: a torchvision ResNet as `encoder`, the projection head as its `fc`."""

    def __init__(self, build: Callable[..., nn.Module], *, projection: int = 128) -> None:
        super().__init__()
        self.encoder = build(weights=None)
        features = self.encoder.fc.in_features
        self.encoder.fc = nn.Sequential(nn.Linear(features, features), nn.ReLU(), nn.Linear(features, projection))


def moved(model: nn.Module) -> nn.Module:
    """Give batch norms the statistics of some noise, so that they are not those of the start."""
    encoder = getattr(model, "encoder", model)
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean of all that it sees
    with torch.no_grad():
        encoder.train()(torch.randn(8, 3, 64, 64) + 0.3)
    return model.eval()


def features(model: nn.Module, images: Tensor) -> Tensor:
    """torchvision's features: all but the last layer."""
    with torch.no_grad():
        return nn.Sequential(*list(model.children())[:-1])(images).flatten(1)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_features_and_projections_are_torchvisions(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    research = moved(ResearchEncoder(getattr(torchvision.models, name), projection=64))
    torch.save(research.state_dict(), tmp_path / "wuhan_img_120.tar")
    recipe = import_checkpoint(tmp_path / "wuhan_img_120.tar", tmp_path / "bundle", crop=64)
    assert (recipe.encoder, recipe.projection, recipe.uses_pois) == (name, 64, False)
    bundle = load_bundle(tmp_path / "bundle")
    assert bundle.recipe == recipe
    assert bundle.manifest["provenance"]["projection_head"] == "imported"
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        found = bundle.model.encode_images(images)
        assert torch.allclose(found, features(research.encoder, images), atol=1e-4, rtol=1e-4)
        assert torch.allclose(bundle.model.image_head(found), research.encoder(images), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"])
def test_shapes_tell_which_resnet_it_is(name: str) -> None:
    with torch.device("meta"):
        research = ResearchEncoder(getattr(torchvision.models, name))
    assert architecture(research.state_dict(), Path("x")) == ("encoder.", name)


def test_embeddings_of_a_store_are_torchvisions_features(tmp_path: Path) -> None:
    torch.manual_seed(0)
    research = moved(ResearchEncoder(torchvision.models.resnet18))
    torch.save(research.state_dict(), tmp_path / "img.pth")
    import_checkpoint(tmp_path / "img.pth", tmp_path / "bundle", crop=40)
    store = make_store(tmp_path / "regions.lance", 3)
    bundle = load_bundle(tmp_path / "bundle")
    found = embed(bundle.model, store, bundle.recipe, device="cpu")
    transform = torchvision.transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    for row, patches in enumerate(store.patches(range(3))):
        images = torch.stack([transform(torch.from_numpy(patch).permute(2, 0, 1) / 255) for patch in patches])
        expected = features(research.encoder, images).mean(0).numpy()
        assert np.allclose(found.image[row], expected, atol=1e-4)
    assert found.poi.shape == (3, 0)


@pytest.mark.parametrize("kind", ["safetensors", "nested", "plain"])
def test_other_files_and_prefixes_work_and_their_head_is_fresh(tmp_path: Path, kind: str) -> None:
    torch.manual_seed(0)
    model = moved(torchvision.models.resnet18(weights=None))
    weights = model.state_dict()
    path = tmp_path / "weights.pth"
    if kind == "safetensors":
        path = tmp_path / "weights.safetensors"
        save_file({f"backbone.{key}": value for key, value in weights.items()}, path)
    else:
        nested = {"state_dict": {f"module.encoder.{k}": v for k, v in weights.items()}, "epoch": 3}
        torch.save(nested if kind == "nested" else weights, path)
    import_checkpoint(path, tmp_path / "bundle", crop=64)
    bundle = load_bundle(tmp_path / "bundle")
    assert bundle.manifest["provenance"]["projection_head"] == "fresh"
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(bundle.model.encode_images(images), features(model, images), atol=1e-4)


@pytest.mark.parametrize("name", ["model.SAFETENSORS", "blob", "w.bin"])
def test_safetensors_are_known_by_what_they_hold(tmp_path: Path, name: str) -> None:
    weights = torchvision.models.resnet18(weights=None).state_dict()
    save_file(weights, tmp_path / name)
    assert import_checkpoint(tmp_path / name, tmp_path / "bundle", crop=64).encoder == "resnet18"
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-100])
    with pytest.raises(ArtefactError, match=f"{name} is a torn safetensors file"):
        import_checkpoint(tmp_path / name, tmp_path / "bundle", crop=64)
    torch.save(weights, tmp_path / "pickle.safetensors")
    assert import_checkpoint(tmp_path / "pickle.safetensors", tmp_path / "b", crop=64).encoder == "resnet18"


def test_a_named_encoder_has_the_bands_and_the_head_of_the_file(tmp_path: Path) -> None:
    made = timm.create_model("vit_tiny_patch16_224", num_classes=0, in_chans=4, img_size=32)
    torch.save({f"encoder.{key}": value for key, value in made.state_dict().items()}, tmp_path / "vit4.pth")
    import_checkpoint(tmp_path / "vit4.pth", tmp_path / "vit", encoder="vit_tiny_patch16_224", crop=32)
    bundle, images = load_bundle(tmp_path / "vit"), torch.randn(2, 4, 32, 32)
    assert bundle.model.bands == 4
    with torch.no_grad():
        assert torch.allclose(bundle.model.image_encoder(images), made.eval()(images), atol=1e-5)
    research = ResearchEncoder(torchvision.models.resnet18, projection=64)
    torch.save(research.state_dict(), tmp_path / "img.tar")
    recipe = import_checkpoint(tmp_path / "img.tar", tmp_path / "bundle", encoder="resnet18", crop=64)
    bundle = load_bundle(tmp_path / "bundle")
    assert (recipe.projection, bundle.manifest["provenance"]["projection_head"]) == (64, "imported")
    assert torch.equal(bundle.model.image_head[2].weight, research.encoder.fc[2].weight)
    # what has the name of a head and does not fit the encoder's features is none
    research.encoder.fc[0] = nn.Linear(7, 512)
    torch.save(research.state_dict(), tmp_path / "img.tar")
    import_checkpoint(tmp_path / "img.tar", tmp_path / "bundle", encoder="resnet18", crop=64)
    assert load_bundle(tmp_path / "bundle").manifest["provenance"]["projection_head"] == "fresh"


@pytest.mark.parametrize("tensor", ["layer1.0.conv1.weight", "fc.2.bias"])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, tensor: str) -> None:
    weights = ResearchEncoder(torchvision.models.resnet18).state_dict()
    weights[f"encoder.{tensor}"].flatten()[:3] = torch.nan
    torch.save(weights, tmp_path / "nan.tar")
    with pytest.raises(ArtefactError, match=rf"checkpoint: .*nan\.tar: tensor {tensor} holds 3 of \d+ values that"):
        import_checkpoint(tmp_path / "nan.tar", tmp_path / "bundle", crop=64)
    assert not (tmp_path / "bundle").exists()


def test_the_model_may_be_named_and_bands_are_the_files(tmp_path: Path) -> None:
    model = torchvision.models.resnet18(weights=None)
    model.conv1 = nn.Conv2d(4, 64, 7, 2, 3, bias=False)
    torch.save(model.state_dict(), tmp_path / "w.pth")
    import_checkpoint(tmp_path / "w.pth", tmp_path / "bundle", crop=64)
    assert load_bundle(tmp_path / "bundle").model.bands == 4
    dense = torchvision.models.densenet121(weights=None)
    torch.save(dense.state_dict(), tmp_path / "d.pth")
    with pytest.raises(ArtefactError, match=r"d\.pth: one ResNet .* there is none among \d+ tensors .*`--encoder`"):
        import_checkpoint(tmp_path / "d.pth", tmp_path / "bundle")
    assert (
        import_checkpoint(tmp_path / "d.pth", tmp_path / "d", encoder="densenet121", crop=64).encoder == "densenet121"
    )


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), tmp_path / "w.pth")
    with pytest.raises(ArtefactError, match=r"w\.pth does not fit resnet50: \d+ of its \d+ tensors are there"):
        import_checkpoint(tmp_path / "w.pth", tmp_path / "bundle", encoder="resnet50", crop=64)
    with pytest.raises(ArtefactError, match=r"Choose the `--encoder` that it was made for"):
        import_checkpoint(tmp_path / "w.pth", tmp_path / "bundle", encoder="resnet34", crop=64)
    wide = torchvision.models.wide_resnet50_2(weights=None).state_dict()
    torch.save({k: v for k, v in wide.items() if "layer4.2" not in k}, tmp_path / "odd.pth")
    with pytest.raises(ArtefactError, match=r"a ResNet of 3 \+ 4 \+ 6 \+ 2 blocks of 3 convolutions is not one of"):
        import_checkpoint(tmp_path / "odd.pth", tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_a_pickle_with_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    class Bad:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "it-ran",))

    torch.save({"encoder.conv1.weight": Bad()}, tmp_path / "zip.tensor")
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(Bad()))
    (tmp_path / "torn.pth").write_bytes(b"PK\x03\x04 torn")
    (tmp_path / "text.safetensors").write_text("no")
    torch.save([1, 2], tmp_path / "list.pth")
    for name in ("zip.tensor", "bare.pt", "torn.pth", "text.safetensors", "list.pth"):
        with pytest.raises(ArtefactError, match=name.replace(".", r"\.")):
            import_checkpoint(tmp_path / name, tmp_path / "bundle")
    assert not (tmp_path / "it-ran").exists()
    assert not (tmp_path / "bundle").exists()
