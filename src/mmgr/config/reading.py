"""Read a configuration from YAML, with errors that name the line, and write it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from mmgr.config.faults import part_of, place_of, repeated, told
from mmgr.config.run import Config
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
    if twice := [f"  {path.name}:{line}: `{key}` stands here a second time" for key, line in repeated(node)]:
        raise ConfigError("\n".join([f"{path} cannot be used; of two equal keys one would be lost:", *twice]))
    try:
        config = _validated(raw, node)
    except ValidationError as error:
        faults = "\n".join(f"  {line}" for line in told(path, node, error.errors()))
        raise ConfigError(f"{path} cannot be used:\n{faults}") from None
    return config.model_copy(update=_absolute_paths(config, path.resolve().parent))


def dump_config(config: Config) -> str:
    """Write a configuration as YAML, without what is at its default."""
    return yaml.safe_dump(
        config.model_dump(mode="json", exclude_defaults=True), sort_keys=False, allow_unicode=True, width=100
    )


def _validated(raw: dict[str, Any], node: Any) -> Config:
    """Check what YAML says; a number or date where a text is wanted, such as `name: 2024`, is the text that it was."""
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        wanted = [fault for fault in error.errors() if fault["type"] in {"string_type", "path_type"}]
        places = [place_of(node, fault["loc"]) for fault in wanted if _is_number_or_date(fault["input"])]
        if not places:
            raise
        return Config.model_validate(_with_texts(raw, node, places))


def _is_number_or_date(value: Any) -> bool:
    return isinstance(value, int | float | date) and not isinstance(value, bool)


def _with_texts(raw: Any, node: Any, places: Sequence[Sequence[Any]]) -> Any:
    """Return a configuration with the values at these places as they are written."""
    if isinstance(node, yaml.ScalarNode):
        return node.value if [] in places else raw
    items = raw.items() if isinstance(raw, dict) else enumerate(raw)
    changed = {}
    for key, value in items:
        below = [place[1:] for place in places if place and str(place[0]) == str(key)]
        part = part_of(node, key)
        changed[key] = _with_texts(value, part, below) if below and part is not None else value
    return changed if isinstance(raw, dict) else list(changed.values())


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
