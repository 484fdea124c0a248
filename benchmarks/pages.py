"""Pages of results: what a command writes stands between two marks, the rest is people's words."""

from __future__ import annotations

from pathlib import Path

from mmgr.files import write_aside

BEGIN, END = "<!-- tables -->", "<!-- end of tables -->"


def write_page(path: Path, text: str) -> None:
    """Replace what stands between a page's marks, whole or not at all; a page that is not there begins as its marks."""
    page = path.read_text(encoding="utf-8") if path.exists() else f"# {path.stem.capitalize()}\n\n{BEGIN}\n\n{END}\n"
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise SystemExit(f"{path} needs one line {BEGIN} and, below it, one line {END}")
    head, rest = page.split(BEGIN)
    with write_aside(path) as aside:
        aside.write_text(f"{head}{BEGIN}\n\n{text}\n\n{END}{rest.split(END)[1]}", encoding="utf-8")
