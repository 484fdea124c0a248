"""What a person sees while a stage works: one console on standard error, progress bars, log lines."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

T = TypeVar("T")

console = Console(stderr=True, emoji=False)
"""Messages and bars go to standard error: standard output stays clean for results. `rows:A:` of a message is a name,
not a letter in a box."""

log = logging.getLogger("mmgr")
"""The package's one logger; a library user sets its level and handlers as usual."""


def show_log(*, verbose: bool = False) -> None:
    """Send the package's log to the console, as the command line does."""
    log.handlers = [RichHandler(console=console, show_path=False, show_time=False, show_level=False, markup=False)]
    log.setLevel(logging.DEBUG if verbose else logging.INFO)
    log.propagate = False


@contextmanager
def quiet() -> Iterator[None]:
    """Let only errors through the package's log while the block runs."""
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def track(items: Iterable[T], description: str, *, total: int | None = None) -> Iterator[T]:
    """Yield ``items`` behind a progress bar, shown only where the console is a terminal.

    The bar is drawn only while the package's log is shown, so a library call stays silent.
    """
    columns = (TextColumn("{task.description:<24}"), BarColumn(), MofNCompleteColumn())
    shown = console.is_terminal and log.isEnabledFor(logging.INFO) and bool(log.handlers)
    with Progress(
        *columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, disable=not shown, transient=True
    ) as progress:
        yield from progress.track(items, total=total, description=description)
