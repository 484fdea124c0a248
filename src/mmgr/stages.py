"""What makes a stage up to date: a key of its settings, its input files and the stages before it."""

from __future__ import annotations

import re
import resource
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mmgr.errors import ArtefactError, InputError
from mmgr.files import check_replaceable, fingerprint, nearest_files, read_json, settings_hash, write_json

_VRT_SOURCE = re.compile(r'<SourceFilename relativeToVRT="(?P<relative>[01])"[^>]*>(?P<name>[^<]+)<')


@dataclass(frozen=True)
class Stage:
    """One step of a run: what it depends on, and what it leaves."""

    name: str
    """The command that runs it."""
    title: str
    """What it does, in a few words."""
    after: tuple[str, ...]
    """Stages whose artefacts it reads."""
    settings: Mapping[str, Any]
    """The part of the configuration that its result depends on."""
    inputs: Mapping[str, Path]
    """Files from outside the run, by the name of their setting."""
    outputs: tuple[Path, ...]
    """Files and folders that are there when it is done."""
    unfinished: tuple[Path, ...] = ()
    """What a killed stage goes on from; forgotten when the stage is forced."""
    replaced: Mapping[Path, tuple[str, ...]] = field(default_factory=dict)
    """Folders that it replaces or removes, each with names by which one that a stage left there is known."""

    def check_replaced(self) -> None:
        """Check that the stage replaces nothing but what stages have left.

        Raises
        ------
        ConfigError
            Names a folder with files of somebody else.
        """
        for folder, marks in self.replaced.items():
            what = f"a folder that `mmgr {self.name}` wrote"
            check_replaceable(folder, marks, what=what, instead="set another `output`")


@dataclass(frozen=True, slots=True)
class Status:
    """Whether a stage has to run, and why."""

    stage: str
    up_to_date: bool
    reason: str


class Ledger:
    """The records of finished stages in an output folder.

    Parameters
    ----------
    folder
        The run's output folder.
    stages
        All stages, in order.
    """

    def __init__(self, folder: Path, stages: Mapping[str, Stage]) -> None:
        self.folder = folder
        self.stages = stages

    def key(self, name: str) -> str:
        """Return the hash of everything that a stage's result depends on."""
        return settings_hash(self._identity(name))

    def _identity(self, name: str) -> dict[str, Any]:
        stage = self.stages[name]
        return {
            "software": version("mmgr"),
            "settings": stage.settings,
            "inputs": {key: input_fingerprint(path, what=key) for key, path in stage.inputs.items()},
            "after": {earlier: self.key(earlier) for earlier in stage.after},
        }

    def status(self, name: str) -> Status:
        """Say whether a stage is up to date, and if not, what changed."""
        record = self.record(name)
        if record is None:
            return Status(name, up_to_date=False, reason="has not run")
        missing = [path for path in self.stages[name].outputs if not path.exists()]
        if missing:
            return Status(name, up_to_date=False, reason=f"{missing[0].name} is missing")
        if record["key"] == self.key(name):
            return Status(name, up_to_date=True, reason="inputs and settings are unchanged")
        return Status(name, up_to_date=False, reason=_difference(record["identity"], self._identity(name)))

    def record(self, name: str) -> dict[str, Any] | None:
        """Return the record of a stage's last complete run, if there is one."""
        path = self._record_path(name)
        return dict(read_json(path)) if path.is_file() else None

    def require(self, name: str, *, config: str, asked: str | None = None) -> None:
        """Check that the stages before ``name`` are up to date; ``asked`` is the command that needs them, if another.

        Raises
        ------
        ArtefactError
            Names the earlier stage to run, and why.
        """
        for earlier in self.stages[name].after:
            status = self.status(earlier)
            if not status.up_to_date:
                raise ArtefactError(
                    f"`{asked or name}` reads what `{earlier}` writes, and that is not up to date ({status.reason}); "
                    f"run `mmgr {earlier} {config}` first, or `mmgr run {config}` for all stages."
                )

    @contextmanager
    def recorded(self, name: str) -> Iterator[dict[str, Any]]:
        """Time the block, and record the stage as done when it ends well."""
        self._record_path(name).unlink(missing_ok=True)
        identity = self._identity(name)
        record: dict[str, Any] = {"stage": name, "key": settings_hash(identity), "identity": identity}
        start = time.perf_counter()
        yield record
        record["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
        record["seconds"] = round(time.perf_counter() - start, 2)
        record["peak_rss_mb"] = max(peak_rss_mb(), peak_rss_mb(resource.RUSAGE_CHILDREN))
        write_json(self._record_path(name), record)

    def _record_path(self, name: str) -> Path:
        return self.folder / "stages" / f"{name}.json"


def peak_rss_mb(whose: int = resource.RUSAGE_SELF) -> int:
    """Return the most memory that this process, or one of those that it waited for, has held, in MB."""
    return resource.getrusage(whose).ru_maxrss // 1024


@cache
def input_fingerprint(path: Path, *, what: str) -> str:
    """Hash an input with the files that belong to it: a VRT's sources, a shapefile's parts.

    Raises
    ------
    InputError
        If it does not exist.
    """
    if not path.exists():
        raise InputError(f"{what}: {path} does not exist. {nearest_files(path)}".strip())
    parts = [path]
    if path.suffix.lower() == ".vrt":
        parts += _vrt_sources(path)
    elif path.suffix.lower() == ".shp":
        parts += sorted(p for p in path.parent.glob(f"{path.stem}.*") if p != path)
    return settings_hash([fingerprint(part) for part in parts if part.exists()])


def _vrt_sources(path: Path) -> list[Path]:
    text = path.read_text(encoding="utf-8", errors="replace")
    found = [(match["name"], match["relative"] == "1") for match in _VRT_SOURCE.finditer(text)]
    return [path.parent / name if relative else Path(name) for name, relative in found]


def _difference(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Name the first thing that changed, in words of the configuration."""
    if before["software"] != now["software"]:
        return f"MMGR {before['software']} wrote it, this is {now['software']}"
    for earlier, key in now["after"].items():
        if before["after"].get(earlier) != key:
            return f"`{earlier}` changed"
    for name, mark in now["inputs"].items():
        if before["inputs"].get(name) != mark:
            return f"the file of {name} changed"
    changed = _changed_setting(before["settings"], settings_as_json(now["settings"]))
    return f"{changed} changed" if changed else "its inputs changed"


def settings_as_json(value: Any) -> Any:
    """Return settings as they look after a round through JSON."""
    if isinstance(value, Mapping):
        return {str(key): settings_as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [settings_as_json(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _changed_setting(before: Any, now: Any, place: str = "") -> str:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in [*now, *(key for key in before if key not in now)]:
            found = _changed_setting(before.get(key), now.get(key), f"{place}.{key}" if place else key)
            if found:
                return found
        return ""
    return "" if before == now else f"{place} ({before} -> {now})"
