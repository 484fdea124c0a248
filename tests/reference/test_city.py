from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
import torch
from PIL import Image
from reference_samples import CATEGORIES, DIMENSIONS, make_folder

import mmgr
from mmgr import cli
from mmgr.errors import ArtefactError, ConfigError, InputError, LabelError, PoiError, RegionError
from mmgr.reference.city import find_folders, import_reference
from mmgr.reference.samples import read_samples
from mmgr.reference.table import MOST_CATEGORIES, recover_categories


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_folder(tmp_path / "shanghai")
    return tmp_path / "shanghai"


def polygons(path: Path, rows: range) -> None:
    cells = [shapely.box(500_000 + 300 * row, 3_400_000, 500_300 + 300 * row, 3_400_300) for row in rows]
    gpd.GeoDataFrame({"cell": [f"r{row}" for row in rows]}, geometry=cells, crs=32651).to_file(path)


class TestImport:
    def test_the_store_holds_the_same_images_and_pois(self, tmp_path: Path, folder: Path) -> None:
        drawn = make_folder(tmp_path / "same")
        run = import_reference(folder, tmp_path / "city")
        store = mmgr.RegionStore(tmp_path / "city" / "regions.lance")
        assert list(store.regions.index) == [f"r{row}" for row in range(9)]
        for row, (patch,) in enumerate(store.patches(range(9))):
            with Image.open(folder / "sub_city_img" / f"r{row}.png") as image:
                assert np.array_equal(patch, np.asarray(image))
        vectors = run.categories()
        assert vectors is not None
        assert vectors.taxonomy.second == tuple(f"category_{number:04}" for number in range(1, CATEGORIES + 1))
        assert vectors.vectors.shape == (CATEGORIES, DIMENSIONS)
        assert vectors.taxonomy == store.info.taxonomy
        # each region's POIs have the vectors that they had, however often
        for row, categories in enumerate(drawn):
            bag = store.bags.take(np.array([row]))
            found = np.repeat(vectors.vectors[bag.category], bag.count.astype(int), axis=0)
            given = torch.load(folder / "sub_city_emb" / f"r{row}.tensor", weights_only=True).numpy()
            assert len(found) == len(categories)
            assert sorted(map(bytes, found)) == sorted(map(bytes, given))
        assert vectors.frequency[0] == 7 * 8, "the most frequent comes first"
        assert store.bags.known.all()
        assert not store.bags.present[2]

    def test_training_and_embedding_go_on_from_the_configuration(
        self, tmp_path: Path, folder: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        config = tmp_path / "city" / "city.yaml"
        with pytest.raises(SystemExit, match="0"):
            cli.main(["import-reference", str(folder), "--output", str(tmp_path / "city")])
        assert f"mmgr pretrain {config}" in " ".join(capfd.readouterr().out.split())
        text = config.read_text()
        assert "recipe: mmgr-2023" in text
        small = "recipe: mmgr-2023, encoder: test_resnet, crop: 32, epochs: 1, batch_size: 4"
        config.write_text(text.replace("pretrain:\n  recipe: mmgr-2023", f"pretrain: {{{small}}}"))
        run = mmgr.Run(config)
        assert [status.up_to_date for status in run.plan()[:3]] == [True, True, False]
        bundle = run.pretrain()
        assert bundle is not None
        assert len(bundle.taxonomy) == CATEGORIES
        embeddings = run.embed()
        assert len(embeddings) == 9
        assert embeddings.geometry.isna().all()
        assert embeddings.crs is None
        assert np.isfinite(np.stack(embeddings["embedding"])).all()
        with pytest.raises(ArtefactError, match=r"no place, and a map shows where they are\. Name polygons"):
            run.all()
        table = pd.read_csv(run.export(tmp_path / "out", form="csv")[0], index_col="region_id")
        vectors = table.filter(regex="^(image|poi)_").to_numpy()
        assert np.allclose(vectors, np.stack(embeddings["embedding"]), atol=1e-6)
        assert table["longitude"].isna().all()
        with pytest.raises(RegionError, match="an image needs one"):
            run.export(tmp_path / "out")
        facts = dict(mmgr.describe(tmp_path / "city" / "regions.lance"))
        assert facts["extent"] == "none: these regions have no place"
        assert facts["regions"] == "9, of unknown size"

    def test_what_needs_places_says_so(self, tmp_path: Path, folder: Path) -> None:
        import_reference(folder, tmp_path / "city")
        config, task = tmp_path / "city" / "city.yaml", folder.parent / "cells.gpkg"
        polygons(task, range(9))
        text = config.read_text()
        config.write_text(f"{text}tasks: [{{name: p, path: {task}, kind: polygon_total, column: cell}}]\n")
        with pytest.raises(LabelError, match="task p: labels find their regions by place, and these regions have none"):
            mmgr.Run(config).all()
        config.write_text(text.replace("pretrain:\n", "pretrain:\n  mask_near: 100\n  encoder: test_resnet\n"))
        with pytest.raises(ArtefactError, match="no place, and `mask_near`, `poi_positions` and `crop_pois` ask"):
            mmgr.Run(config).pretrain()

    def test_polygons_give_regions_their_true_places(self, tmp_path: Path, folder: Path) -> None:
        cells = tmp_path / "cells.gpkg"
        polygons(cells, range(12))
        import_reference(folder, tmp_path / "city", geometry=cells, id_column="cell")
        store = mmgr.RegionStore(tmp_path / "city" / "regions.lance")
        assert store.info.crs == "EPSG:32651"
        assert store.info.edge == pytest.approx(300, rel=1e-3)
        assert np.allclose(store.bags.area_km2, 0.09, rtol=1e-3)
        west = store.regions.geometry.bounds["minx"].to_numpy()
        assert np.allclose(west, 500_000 + 300 * np.arange(9), atol=0.1)

    def test_a_region_without_its_polygon_is_named(self, tmp_path: Path, folder: Path) -> None:
        cells = tmp_path / "cells.gpkg"
        polygons(cells, range(7))
        with pytest.raises(RegionError, match=r"cells\.gpkg has no polygon of the ids r7, r8; its column `cell` has 7"):
            import_reference(folder, tmp_path / "city", geometry=cells, id_column="cell")
        assert not (tmp_path / "city" / "city.yaml").exists()

    def test_images_alone_are_imported_for_simclr(self, tmp_path: Path, folder: Path) -> None:
        for part in ("sub_city_emb", "sub_city_edge"):
            for path in (folder / part).iterdir():
                path.unlink()
            (folder / part).rmdir()
        run = import_reference(folder, tmp_path / "city")
        assert run.config.pretrain.recipe == "simclr"
        assert run.config.pois is None
        assert run.categories() is None

    def test_images_of_another_size_are_resized_to_the_usual_one(self, tmp_path: Path, folder: Path) -> None:
        image = folder / "sub_city_img" / "r4.png"
        Image.new("L", (96, 96), 77).save(image)
        import_reference(folder, tmp_path / "city")
        (patch,) = mmgr.RegionStore(tmp_path / "city" / "regions.lance").patches([4])[0]
        assert patch.shape == (48, 48, 3)
        assert (patch == 77).all()

    def test_a_changed_sample_runs_the_build_again(self, tmp_path: Path, folder: Path) -> None:
        run = import_reference(folder, tmp_path / "city")
        assert run.plan()[0].up_to_date
        Image.new("RGB", (48, 48)).save(folder / "sub_city_img" / "r4.png")
        mmgr.stages.input_fingerprint.cache_clear()
        assert run.plan()[0].reason == "the file of images.path changed"

    def test_a_configuration_that_is_there_is_kept(self, tmp_path: Path, folder: Path) -> None:
        import_reference(folder, tmp_path / "city")
        with pytest.raises(ConfigError, match=r"city\.yaml is there already; `--force` replaces it"):
            import_reference(folder, tmp_path / "city")
        import_reference(folder, tmp_path / "city", force=True)
        # a failure takes nothing of it
        config = tmp_path / "city" / "city.yaml"
        config.write_text("# mine\n")
        (folder / "sub_city_emb" / "r1.tensor").unlink()
        mmgr.stages.input_fingerprint.cache_clear()
        with pytest.raises(InputError, match=r"r1\.tensor is missing"):
            import_reference(folder, tmp_path / "city", force=True)
        assert config.read_text() == "# mine\n"
        with pytest.raises(ConfigError, match="`--geometry` and `--id` go together"):
            import_reference(folder, tmp_path / "other", geometry=tmp_path / "x.gpkg")


class Bad:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.mark,))


def nan(path: Path) -> None:
    values = torch.zeros(3, 64)
    values[1, 5] = torch.nan
    torch.save(values, path)


FAULTS: list[tuple[str, Callable[[Path], object], str]] = [
    ("emb/r1.tensor", Path.unlink, "sub_city_emb/r1.tensor is missing beside "),
    ("edge/r1.tensor", Path.unlink, "sub_city_edge/r1.tensor is missing beside "),
    ("img/r1.png", Path.unlink, "sub_city_img/r1.png is missing beside "),
    ("img/r1.png", lambda p: p.write_bytes(p.read_bytes()[:60]), "sub_city_img/r1.png is no PNG that can be read"),
    ("img/r1.png", lambda p: p.write_text("no"), "sub_city_img/r1.png is no PNG that can be read"),
    ("img/r1.png", lambda p: Image.new("RGB", (48, 40)).save(p), "r1.png has 48 x 40 pixels"),
    ("img/r1.png", lambda p: Image.new("I;16", (48, 48)).save(p), "r1.png has pixels of mode I;16"),
    ("emb/r1.tensor", lambda p: torch.save(torch.zeros(64), p), "r1.tensor has shape (64,); one vector a POI"),
    ("emb/r1.tensor", lambda p: torch.save(torch.zeros(3, 32), p), "has vectors of 32 dimensions, most have 64"),
    ("emb/r1.tensor", nan, "r1.tensor: the vector of POI 1, counted from 0, is not finite"),
    ("emb/r1.tensor", lambda p: torch.save({"a": 1}, p), "r1.tensor holds no tensor but a dict"),
    ("emb/r1.tensor", lambda p: p.write_bytes(p.read_bytes()[:-40]), "r1.tensor is no file of tensors"),
    ("emb/r1.tensor", lambda p: torch.save(Bad(p.parents[2] / "ran"), p), "a pickle that wants to run code"),
    ("edge/r1.tensor", lambda p: p.write_bytes(pickle.dumps(Bad(p.parents[2] / "ran"))), "a pickle that wants to run"),
    ("edge/r1.tensor", lambda p: torch.save(torch.zeros(3, 5).long(), p), "has shape (3, 5); pairs of POIs"),
    ("edge/r1.tensor", lambda p: torch.save(torch.tensor([[0], [11]]), p), "names POI 11, and the region has 11"),
    ("edge/r1.tensor", lambda p: torch.save(torch.tensor([[0], [-1]]), p), "names POI -1, and the region has 11"),
    ("edge/r1.tensor", lambda p: torch.save(torch.full((2, 3), torch.nan), p), "names POI nan; edges are whole num"),
    ("edge/r1.tensor", lambda p: torch.save(torch.full((2, 3), 0.5), p), "names POI 0.5; edges are whole numbers"),
    (
        "edge/r1.tensor",
        lambda p: torch.save(torch.zeros((2, 3)).to_sparse(), p),
        "a tensor that is sparse; save a plain",
    ),
    ("emb/r1.tensor", lambda p: torch.save(torch.ones(3, 64).to_sparse(), p), "a tensor that is sparse; save a plain"),
    ("img/r1.png", lambda p: (p.parent / "r1.PNG").write_bytes(p.read_bytes()), "has the name of r1."),
]


class TestFaults:
    @pytest.mark.parametrize(("file", "spoil", "said"), FAULTS)
    def test_each_is_named_with_its_file(
        self, tmp_path: Path, folder: Path, file: str, spoil: Callable[[Path], object], said: str
    ) -> None:
        spoil(folder / f"sub_city_{file}")
        with pytest.raises(InputError) as error:
            import_reference(folder, tmp_path / "city")
        assert said in str(error.value)
        assert str(folder / f"sub_city_{file}") in str(error.value)
        assert not (tmp_path / "ran").exists()
        assert not (tmp_path / "city" / "city.yaml").exists()

    def test_hidden_files_are_none_of_the_samples(self, tmp_path: Path, folder: Path) -> None:
        for part, name in (("img", "._r1.png"), ("emb", "._r1.tensor"), ("edge", ".r1.tensor")):
            (folder / f"sub_city_{part}" / name).write_bytes(b"Mac OS X")
        (folder / ".cache").mkdir()
        (folder / ".cache" / "r1.png").touch()
        run = import_reference(folder, tmp_path / "city")
        assert len(run.build()) == 9

    def test_vectors_of_whole_numbers_are_told_from_edges(self, folder: Path) -> None:
        expected = find_folders(folder)
        for path in (folder / "sub_city_emb").iterdir():
            torch.save(torch.load(path, weights_only=True).mul(10).long(), path)
        assert find_folders(folder) == expected
        # where each region has two POIs, only the name tells
        for path in (folder / "sub_city_emb").iterdir():
            torch.save(torch.ones(2, 64).long(), path)
        assert find_folders(folder) == expected

    def test_samples_without_any_poi_name_the_folder_and_what_to_do(self, tmp_path: Path, folder: Path) -> None:
        for path in (folder / "sub_city_emb").iterdir():
            torch.save(torch.zeros(0), path)
        for path in (folder / "sub_city_edge").iterdir():
            torch.save(torch.zeros(2, 0).long(), path)
        said = r"no region has a POI: all 9 tensors in .*sub_city_emb are empty\. .*images alone, move this folder"
        with pytest.raises(InputError, match=said):
            import_reference(folder, tmp_path / "city")

    def test_all_are_collected(self, folder: Path) -> None:
        for file, spoil, _ in (FAULTS[0], FAULTS[4]):
            spoil(folder / f"sub_city_{file}")
        torch.save(torch.zeros(1), folder / "sub_city_emb" / "r5.tensor")
        found = find_folders(folder)
        with pytest.raises(InputError, match="3 faults:") as error:
            read_samples(found["images"], found["vectors"], found["edges"])
        assert len(str(error.value).splitlines()) == 4

    def test_folders_that_are_not_there_or_twice_are_one_message(self, tmp_path: Path, folder: Path) -> None:
        with pytest.raises(InputError, match="is no folder"):
            find_folders(tmp_path / "nowhere")
        with pytest.raises(InputError, match="holds no folder of PNGs"):
            find_folders(folder / "sub_city_emb")
        (folder / "more_img").mkdir()
        Image.new("RGB", (8, 8)).save(folder / "more_img" / "a.png")
        with pytest.raises(InputError, match="several folders of images: more_img, sub_city_img"):
            find_folders(folder)

    @pytest.mark.parametrize("names", [("img", "emb", "links"), ("edgewater_img", "edgewater_emb", "edgewater_edge")])
    def test_tensors_tell_which_are_edges_whatever_their_folder_is_called(
        self, folder: Path, names: tuple[str, str, str]
    ) -> None:
        for old, new in zip(("img", "emb", "edge"), names, strict=True):
            (folder / f"sub_city_{old}").rename(folder / new)
        # a region of two POIs, and faults that are named later
        torch.save(torch.zeros(2, 64), folder / names[1] / "r0.tensor")
        (folder / names[1] / "r1.tensor").write_text("no")
        torch.save(torch.zeros(3, 5).long(), folder / names[2] / "r0.tensor")
        found = find_folders(folder)
        assert [found[kind].name for kind in ("images", "vectors", "edges")] == list(names)

    def test_a_folder_of_empty_tensors_is_known_by_its_name(self, folder: Path) -> None:
        for path in (folder / "sub_city_edge").iterdir():
            torch.save(torch.zeros(2, 0), path)
        assert find_folders(folder)["edges"].name == "sub_city_edge"

    def test_vectors_of_pois_rather_than_categories_are_refused(self) -> None:
        values = np.random.default_rng(0).normal(size=(MOST_CATEGORIES + 1, 2)).astype(np.float32)
        with pytest.raises(PoiError, match="more than 10,000 distinct vectors"):
            recover_categories([values])
        with pytest.raises(PoiError, match="no region has a POI"):
            recover_categories([values[:0]])

    def test_zeros_of_both_signs_are_one_category(self) -> None:
        vectors, found = recover_categories([np.array([[0.0, 1], [-0.0, 1], [2, 1]], np.float32)])
        assert vectors.vectors.tolist() == [[0, 1], [2, 1]]
        assert found[0].tolist() == [0, 0, 1]
