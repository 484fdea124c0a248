"""What is wrong with a configuration, in the words of one who writes YAML: the line, the key, and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from mmgr.config.inputs import CountSource, Images, PointSource, Pois, Regions
from mmgr.config.learning import Categories, Embed, Pretrain
from mmgr.config.run import Config
from mmgr.config.scoring import Evaluate, Finetune, Task

_NEEDED = {
    "tuple_type": "a list: a line `- ...` for each item, or [..., ...]",
    "model_type": "keys with values: a line `key: value` for each",
    "model_attributes_type": "keys with values: a line `key: value` for each",
    "dict_type": "keys with values: a line `key: value` for each",
    "source_kind": "keys with values, such as `path: FILE`",
    "string_type": "a text; put it in quotes",
    "path_type": "a path",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a number that is finite",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
}
_BOUNDS = {
    "greater_than": ("gt", "above"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "below"),
    "less_than_equal": ("le", "at most"),
}


def told(path: Path, node: Any, faults: list[Any]) -> list[str]:
    """Return a line for each fault of a configuration.

    Parameters
    ----------
    path
        The file, for messages.
    node
        Its tree of YAML, which knows the lines.
    faults
        As pydantic lists them.
    """
    by_place: dict[tuple[Any, ...], list[Any]] = {}
    for fault in _without_short_lists(faults):
        by_place.setdefault(tuple(place_of(node, fault["loc"])), []).append(fault)
    return [
        line
        for place, here in by_place.items()
        # one value that may be of several types has a fault for each
        for line in ([_any_of(path, node, place, here)] if len(here) > 1 else [_line(path, node, place, here[0])])
    ]


def place_of(node: Any, parts: tuple[Any, ...]) -> list[Any]:
    """Return the keys and the items' numbers that lead to a fault, without the names that pydantic gives to types."""
    place: list[Any] = []
    for part in parts:
        if part in {"points", "counts"}:
            continue
        if isinstance(part, str) and isinstance(node, yaml.ScalarNode | yaml.SequenceNode):
            continue
        place.append(part)
        node = part_of(node, part)
    return place


def part_of(node: Any, part: Any) -> Any:
    """Return what a YAML tree holds under a key or a number; None where there is nothing."""
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == str(part)), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part]
    return None


def repeated(node: Any) -> Iterator[tuple[str, int]]:
    """Yield each key that its own section has already, with its line."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from repeated(item)
    if isinstance(node, yaml.MappingNode):
        met = set()
        for key, value in node.value:
            if key.value in met:
                yield key.value, key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode):
                met.add(key.value)
            yield from repeated(value)


def _without_short_lists(faults: list[Any]) -> list[Any]:
    """Leave out that a list is too short where its items are what is wrong."""
    items = {fault["loc"][:-1] for fault in faults}
    return [fault for fault in faults if fault["type"] != "too_short" or fault["loc"] not in items]


def _line(path: Path, node: Any, place: tuple[Any, ...], fault: Any) -> str:
    where, key = _where(path, node, place), ".".join(map(str, place))
    if fault["type"] == "extra_forbidden":
        known = _known_keys(fault["loc"][:-1])
        near = get_close_matches(str(place[-1]), known, n=1)
        hint = f"; did you mean `{near[0]}`?" if near else f"; known are {', '.join(known)}"
        return f"{where}unknown key `{key}`{hint}"
    if fault["type"] == "missing":
        if isinstance(place[-1], int):
            return f"{where}`{'.'.join(map(str, place[:-1]))}` has only {place[-1]} of the values that it needs"
        return f"{where}`{key}` is missing"
    return f"{where}{f'`{key}`: ' if key else ''}{_words(fault)}{_got(fault)}"


def _any_of(path: Path, node: Any, place: tuple[Any, ...], faults: list[Any]) -> str:
    words = list(dict.fromkeys(_words(fault) for fault in faults))
    return f"{_where(path, node, place)}`{'.'.join(map(str, place))}`: {'; or '.join(words)}{_got(faults[0])}"


def _where(path: Path, node: Any, place: tuple[Any, ...]) -> str:
    line = _line_of(node, place)
    return f"{path.name}:{line}: " if line else ""


def _got(fault: Any) -> str:
    value = fault["input"]
    return "" if isinstance(value, dict | list) else f" (got {value!r})"


def _words(fault: Any) -> str:
    kind, context = fault["type"], fault.get("ctx", {})
    if kind in _NEEDED and not (kind == "source_kind" and isinstance(fault["input"], dict)):
        return f"needs {_NEEDED[kind]}"
    if kind in _BOUNDS:
        key, word = _BOUNDS[kind]
        return f"must be {word} {context[key]:g}"
    if kind == "too_long":
        return f"has {context['actual_length']} values, and takes {context['max_length']}"
    if kind == "too_short":
        return f"has {context['actual_length']} values, and needs {context['min_length']} or more"
    message = str(fault["msg"]).removeprefix("Value error, ").replace("Input should be", "must be")
    if kind == "literal_error":
        near = get_close_matches(str(fault["input"]), re.findall(r"'([^']*)'", context["expected"]), n=1)
        message += f"; did you mean {near[0]!r}?" if near else ""
    return message


def _line_of(node: Any, place: tuple[Any, ...]) -> int | None:
    """Find the line of a key in the YAML tree, or of the nearest part above it."""
    line = None
    for part in place:
        found = node.value if isinstance(node, yaml.MappingNode) else []
        key = next((key for key, _ in found if key.value == str(part)), None)
        node = part_of(node, part)
        if node is None:
            break
        line = (key or node).start_mark.line + 1
    return line


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
