"""Read a configuration from YAML, with errors that name the line, and write it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from mmgr.config.inputs import CountSource, Images, PointSource, Pois, Regions
from mmgr.config.learning import Categories, Embed, Pretrain
from mmgr.config.run import Config
from mmgr.config.scoring import Evaluate, Finetune, Task
from mmgr.errors import ConfigError
from mmgr.files import existing_file


def load_config(path: str | Path) -> Config:
    """Read and check a configuration; paths in it are relative to its folder.

    Raises
    ------
    ConfigError
        Names every fault with its line, the value, and the nearest known key.
    """
    path = existing_file(Path(path), what="configuration")
    try:
        return parse_config(path.read_text(encoding="utf-8"), path)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text: {error}") from error


def parse_config(text: str, path: Path) -> Config:
    """Check a configuration's text; paths in it are relative to the folder of ``path``.

    Raises
    ------
    ConfigError
        Names every fault with its line, the value, and the nearest known key.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{path} holds no configuration; `mmgr init` writes one.")
    if twice := [f"  {path.name}:{line}: `{key}` stands here a second time" for key, line in _repeated(node)]:
        raise ConfigError("\n".join([f"{path} cannot be used; of two equal keys one would be lost:", *twice]))
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        faults = "\n".join(f"  {_fault(path, node, fault)}" for fault in _told(error.errors()))
        raise ConfigError(f"{path} cannot be used:\n{faults}") from None
    return config.model_copy(update=_absolute_paths(config, path.resolve().parent))


def dump_config(config: Config) -> str:
    """Write a configuration as YAML, without what is at its default."""
    return yaml.safe_dump(
        config.model_dump(mode="json", exclude_defaults=True), sort_keys=False, allow_unicode=True, width=100
    )


def _absolute_paths(section: BaseModel, folder: Path) -> dict[str, Any]:
    """Return the fields of a section that hold paths, made absolute."""
    return {name: _absolute(getattr(section, name), folder) for name in type(section).model_fields}


def _absolute(value: Any, folder: Path) -> Any:
    if isinstance(value, Path):
        return Path(os.path.normpath(folder / value.expanduser()))
    if isinstance(value, BaseModel):
        return value.model_copy(update=_absolute_paths(value, folder))
    if isinstance(value, tuple):
        return tuple(_absolute(item, folder) for item in value)
    return value


def _told(faults: list[Any]) -> list[Any]:
    """Leave out that a list is too short where its items are what is wrong."""
    items = {fault["loc"][:-1] for fault in faults}
    return [fault for fault in faults if fault["type"] != "too_short" or fault["loc"] not in items]


def _fault(path: Path, node: Any, fault: Any) -> str:
    place = [part for part in fault["loc"] if part not in {"points", "counts"}]
    line = _line_of(node, place)
    where = f"{path.name}:{line}: " if line else ""
    key = ".".join(str(part) for part in place)
    if fault["type"] == "extra_forbidden":
        near = get_close_matches(str(place[-1]), _known_keys(fault["loc"][:-1]), n=1)
        hint = f"; did you mean `{near[0]}`?" if near else f"; known are {', '.join(_known_keys(fault['loc'][:-1]))}"
        return f"{where}unknown key `{key}`{hint}"
    if fault["type"] == "missing":
        return f"{where}`{key}` is missing"
    message = fault["msg"].removeprefix("Value error, ")
    value = fault["input"]
    if fault["type"] == "literal_error":
        near = get_close_matches(str(value), re.findall(r"'([^']*)'", fault["ctx"]["expected"]), n=1)
        message += f"; did you mean {near[0]!r}?" if near else ""
    shown = f" (got {value!r})" if not isinstance(value, dict | list) else ""
    return f"{where}{f'`{key}`: ' if key else ''}{message}{shown}"


def _line_of(node: Any, place: list[Any]) -> int | None:
    """Find the line of a key in the YAML tree, or of the nearest part above it."""
    line = None
    for part in place:
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == str(part)), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return line


def _repeated(node: Any) -> Iterator[tuple[str, int]]:
    """Yield each key that its own section has already, with its line."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _repeated(item)
    if isinstance(node, yaml.MappingNode):
        met = set()
        for key, value in node.value:
            if key.value in met:
                yield key.value, key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode):
                met.add(key.value)
            yield from _repeated(value)


def _known_keys(place: tuple[Any, ...]) -> list[str]:
    """Return the keys that the section at ``place`` knows."""
    sections: dict[str, type[BaseModel]] = {
        "images": Images,
        "regions": Regions,
        "pois": Pois,
        "points": PointSource,
        "counts": CountSource,
        "categories": Categories,
        "pretrain": Pretrain,
        "embed": Embed,
        "tasks": Task,
        "evaluate": Evaluate,
        "finetune": Finetune,
    }
    named = [sections[part] for part in place if part in sections]
    return sorted((named[-1] if named else Config).model_fields)
