"""Files appear whole or not at all; hashes follow content; a folder has one writer."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mmgr import files
from mmgr.errors import ArtefactError, BusyError, ConfigError, InputError, StorageError
from mmgr.files import (
    check_place,
    check_replaceable,
    exclusive,
    existing_file,
    explained_writes,
    fingerprint,
    make_folder,
    read_json,
    remove_tree,
    settings_hash,
    write_aside,
    write_json,
    write_text,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class TestWriteAside:
    def test_a_file_appears_when_complete(self, tmp_path: Path) -> None:
        target = tmp_path / "deep" / "a.txt"
        with write_aside(target) as aside:
            aside.write_text("whole")
            assert not target.exists()
        assert target.read_text() == "whole"
        assert names(target.parent) == ["a.txt"]

    def test_a_failure_leaves_the_old_file_and_nothing_else(self, tmp_path: Path) -> None:
        target = tmp_path / "a.txt"
        target.write_text("old")
        with pytest.raises(TypeError), write_aside(target) as aside:
            aside.write_text(b"half")  # type: ignore[arg-type]
        assert target.read_text() == "old"
        assert names(tmp_path) == ["a.txt"]

    def test_a_folder_replaces_a_folder(self, tmp_path: Path) -> None:
        target = tmp_path / "a"
        target.mkdir()
        (target / "old").write_text("")
        with write_aside(target) as aside:
            aside.mkdir()
            (aside / "new").write_text("")
        assert names(target) == ["new"]
        assert names(tmp_path) == ["a"]

    def test_a_file_never_replaces_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "thesis.txt").write_text("mine")
        with pytest.raises(StorageError, match="a is a folder, and a file"), write_aside(tmp_path / "a") as aside:
            aside.write_text("new")
        assert (tmp_path / "a" / "thesis.txt").read_text() == "mine"
        assert names(tmp_path) == ["a"]

    def test_a_full_disk_is_one_clear_error(self, tmp_path: Path) -> None:
        with pytest.raises(StorageError, match="no room to write"), write_aside(tmp_path / "a"):
            raise OSError(errno.ENOSPC, "No space left on device")
        assert not names(tmp_path)

    def test_a_library_that_reports_a_full_disk_in_words_is_understood(self, tmp_path: Path) -> None:
        with pytest.raises(StorageError, match="no room"), explained_writes(tmp_path):
            raise RuntimeError("LanceError(IO): No space left on device (os error 28)")

    def test_other_errors_pass(self, tmp_path: Path) -> None:
        with pytest.raises(RuntimeError, match="something else"), explained_writes(tmp_path):
            raise RuntimeError("something else")


def refuse(number: int) -> Callable[..., None]:
    """Return a call that the operating system refuses."""

    def refused(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return refused


class TestPlace:
    """A folder that cannot be written is named, with what is in the way."""

    def test_a_file_in_its_place(self, tmp_path: Path) -> None:
        (tmp_path / "pois.csv").touch()
        for use in (make_folder, check_place, lambda path: exclusive(path).__enter__()):
            with pytest.raises(StorageError, match=r"pois\.csv is no folder; choose another `output`"):
                use(tmp_path / "pois.csv")

    def test_a_file_above_it(self, tmp_path: Path) -> None:
        (tmp_path / "pois.csv").touch()
        for use in (make_folder, check_place, lambda path: write_json(path / "a.json", 1)):
            with pytest.raises(StorageError, match=r"pois\.csv is no folder, and \S+b would lie in it; choose another"):
                use(tmp_path / "pois.csv" / "a" / "b")

    def test_a_link_to_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "gone").symlink_to(tmp_path / "nothing")
        with pytest.raises(StorageError, match="gone is no folder"):
            make_folder(tmp_path / "gone")

    @pytest.mark.parametrize(
        ("number", "words"),
        [(errno.EROFS, "lies on a read-only file system"), (errno.ENOENT, "cannot be made or written"),
         (errno.EACCES, "no permission to write"), (errno.ENOSPC, "no room")],
    )  # fmt: skip
    def test_what_the_system_refuses(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
    ) -> None:
        monkeypatch.setattr(Path, "mkdir", refuse(number))
        with pytest.raises(StorageError, match=words) as caught:
            make_folder(tmp_path / "a")
        assert str(tmp_path / "a") in str(caught.value)

    def test_a_folder_that_is_there_and_read_only(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tempfile.mkdtemp", refuse(errno.EROFS))
        with pytest.raises(StorageError, match="read-only file system; choose another `output`"):
            write_text(tmp_path / "a", "new")

    def test_a_check_says_it_before_anything_is_written(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        check_place(tmp_path / "a" / "b")
        assert not names(tmp_path)
        monkeypatch.setattr("os.access", lambda *_: False)
        with pytest.raises(StorageError, match=r"may not be written by you, and \S+b would lie in it; name another"):
            check_place(tmp_path / "a" / "b", instead="name another")


class TestReplaceable:
    def check(self, folder: Path) -> None:
        check_replaceable(folder, ("run.json", "scores.json"), what="a run", instead="name another")

    def test_nothing_an_empty_folder_and_ours_are(self, tmp_path: Path) -> None:
        folder = tmp_path / "a"
        self.check(folder)
        folder.mkdir()
        self.check(folder)
        (folder / "other.txt").touch()
        (folder / "scores.json").touch()
        self.check(folder)

    def test_what_a_kill_left_of_a_mark_is(self, tmp_path: Path) -> None:
        (tmp_path / ".run.json.x7f").mkdir()
        self.check(tmp_path)

    def test_files_of_others_are_not(self, tmp_path: Path) -> None:
        for name in ("thesis.txt", "zebra.txt"):
            (tmp_path / name).touch()
        with pytest.raises(ConfigError, match=r"is not a run: it holds thesis\.txt and 1 more, .* Move it, or name"):
            self.check(tmp_path)
        with pytest.raises(ConfigError, match=r"thesis\.txt is a file, and a run is to be written there"):
            self.check(tmp_path / "thesis.txt")


class TestFingerprint:
    def test_content_decides(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_text("1")
        before = fingerprint(tmp_path)
        os.utime(tmp_path / "a", (0, 0))
        assert fingerprint(tmp_path) == before
        (tmp_path / "a").write_text("2")
        assert fingerprint(tmp_path) != before

    def test_a_name_counts(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_text("1")
        before = fingerprint(tmp_path)
        (tmp_path / "a").rename(tmp_path / "b")
        assert fingerprint(tmp_path) != before

    def test_a_large_file_is_known_by_its_ends_size_and_date(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(files, "WHOLE_FILE_BYTES", 2**20)
        path = tmp_path / "big"
        path.write_bytes(bytes(3 * 2**20))
        os.utime(path, (1, 1))
        before = fingerprint(path)
        with path.open("r+b") as stream:
            stream.seek(-1, os.SEEK_END)
            stream.write(b"x")
        os.utime(path, (1, 1))
        assert fingerprint(path) != before

    def test_the_order_of_keys_does_not_count(self) -> None:
        assert settings_hash({"a": 1, "b": [1, 2]}) == settings_hash({"b": [1, 2], "a": 1})
        assert settings_hash({"a": 1}) != settings_hash({"a": 2})


class TestExclusive:
    def test_a_second_writer_is_refused_and_the_first_named(self, tmp_path: Path) -> None:
        code = (
            "import sys; from pathlib import Path; from mmgr.files import exclusive\n"
            f"with exclusive(Path({str(tmp_path)!r})): print('held', flush=True); sys.stdin.read()"
        )
        with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdout is not None
            assert other.stdin is not None
            other.stdout.readline()
            with pytest.raises(BusyError, match=f"process {other.pid}"), exclusive(tmp_path):
                pass
            other.kill()
            other.wait()
            other.stdin.close()
        with exclusive(tmp_path):  # a kill lets go of the folder
            pass

    def test_the_folder_is_free_again_afterwards(self, tmp_path: Path) -> None:
        for _ in range(2):
            with exclusive(tmp_path):
                pass


class TestJson:
    def test_round_trip(self, tmp_path: Path) -> None:
        write_json(tmp_path / "a.json", {"ä": [1, None]})
        assert read_json(tmp_path / "a.json") == {"ä": [1, None]}

    def test_a_torn_file_says_what_to_do(self, tmp_path: Path) -> None:
        (tmp_path / "a.json").write_text('{"a": ')
        with pytest.raises(ArtefactError, match="remove it and run its stage again"):
            read_json(tmp_path / "a.json")

    def test_a_missing_file_says_what_to_do(self, tmp_path: Path) -> None:
        with pytest.raises(ArtefactError, match="run the stage that writes it"):
            read_json(tmp_path / "a.json")


class TestExistingFile:
    def test_missing_folder_and_empty(self, tmp_path: Path) -> None:
        (tmp_path / "pois.csv").write_text("")
        with pytest.raises(InputError, match=r"Did you mean pois\.csv"):
            existing_file(tmp_path / "poi.csv", what="POIs")
        with pytest.raises(InputError, match="is a folder"):
            existing_file(tmp_path, what="POIs")
        with pytest.raises(InputError, match="is empty"):
            existing_file(tmp_path / "pois.csv", what="POIs")
        with pytest.raises(InputError, match="does not exist either"):
            existing_file(tmp_path / "no" / "pois.csv", what="POIs")


def test_a_folder_is_removed_without_ever_being_half_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "pretrain"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "run.json").touch()
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", lambda *_, **__: None)  # killed before it removes anything
        remove_tree(folder)
    assert not folder.exists()
    remove_tree(folder)
    assert not list(tmp_path.iterdir()), "what the first left is removed by the next"
