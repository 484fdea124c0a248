"""Write docs/configuration.md from the configuration's own types, defaults and docstrings.

Usage: python scripts/make_configuration_doc.py [docs/configuration.md]
"""

from __future__ import annotations

import ast
import inspect
import itertools
import sys
import textwrap
from pathlib import Path

from mmgr import config
from mmgr.config import Section

HEAD = """\
# Settings of `city.yaml`

Written by `scripts/make_configuration_doc.py` from `mmgr.config`; `mmgr init` writes a commented file. Paths
are relative to the configuration's folder. A key that is not listed here is an error; one without
a value is as if it were not there.
"""
SECTIONS = {
    "": config.Config,
    "images": config.Images,
    "regions": config.Regions,
    "pois": config.Pois,
    "pois.sources (kind: points)": config.PointSource,
    "pois.sources (kind: counts)": config.CountSource,
    "categories": config.Categories,
    "pretrain": config.Pretrain,
    "embed": config.Embed,
    "tasks": config.Task,
    "evaluate": config.Evaluate,
    "finetune": config.Finetune,
}


def main() -> None:
    """Write the page."""
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/configuration.md")
    target.write_text(page(), encoding="utf-8")


def page() -> str:
    """Return the whole page."""
    return "\n".join([HEAD, *(section(name, model) for name, model in SECTIONS.items())])


def section(name: str, model: type[Section]) -> str:
    """Return the table of one section."""
    title = f"## `{name}`" if name else "## Top level"
    rows = [f"| `{key}` | {default(model, key)} | {text} |" for key, text in explanations(model).items()]
    return "\n".join(
        [title, "", inspect.getdoc(model) or "", "", "| key | default | meaning |", "|---|---|---|", *rows, ""]
    )


def default(model: type[Section], key: str) -> str:
    """Return a field's default as YAML would show it."""
    field = model.model_fields[key]
    if field.is_required():
        return "required"
    value = field.default
    if isinstance(value, Section):
        return "see below"
    if value is None:
        return "none"
    shown = list(value) if isinstance(value, tuple) else value
    return f"`{str(shown).lower() if isinstance(shown, bool) else shown}`"


def explanations(model: type[Section]) -> dict[str, str]:
    """Return the docstring below each field, in order; empty where there is none."""
    body = ast.parse(textwrap.dedent(inspect.getsource(model))).body[0].body  # type: ignore[attr-defined]
    found = dict.fromkeys(model.model_fields, "")
    for statement, after in itertools.pairwise(body):
        documented = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        if isinstance(statement, ast.AnnAssign) and documented:
            found[statement.target.id] = " ".join(str(after.value.value).split())  # type: ignore[union-attr]
    return found


if __name__ == "__main__":
    main()
