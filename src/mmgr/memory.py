"""Freed memory that is kept for the next step of a model on the CPU, instead of being given back each time.

The GNU C library asks the system for each block above 32 MB and gives it back when it is freed, so that a model's large
arrays are new pages in every step: the kernel fills each with zeros before anything is written to it. A training
asks for the same sizes over and over. What this is worth, `benchmarks/memory.py` measures.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
import threading
from collections.abc import Callable, Iterator
from functools import cache

# names and numbers of the C library's malloc.h
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_KEPT = {_MMAP_MAX: 0, _TRIM_THRESHOLD: -1}
"""No block is asked of the system for itself, and what is freed at the end of the heap stays, however much it is."""
_USUAL = {_MMAP_MAX: 65_536, _TRIM_THRESHOLD: 64 * 2**20, _MMAP_THRESHOLD: 32 * 2**20}
"""As the library has it when it has met blocks of all sizes: from then on it does not adapt by itself."""


class _Users:
    """How many blocks want memory kept."""

    def __init__(self) -> None:
        self._lock, self._count = threading.Lock(), 0

    def enter(self, first: Callable[[], None]) -> None:
        with self._lock:
            self._count += 1
            if self._count == 1:
                first()

    def leave(self, last: Callable[[], None]) -> None:
        with self._lock:
            self._count -= 1
            if not self._count:
                last()


_users = _Users()


@contextlib.contextmanager
def kept_memory() -> Iterator[None]:
    """Keep the memory that is freed while the block runs, for what is asked for next; at its end it is given back.

    May be nested, and be entered in several threads: memory is kept until the last of them leaves. Where the C
    library is another one than GNU's, nothing changes.
    """
    library = _gnu()
    if library is None:
        yield
        return
    _users.enter(lambda: _set(library, _KEPT))
    try:
        yield
    finally:
        _users.leave(lambda: _give_back(library))


def _give_back(library: ctypes.CDLL) -> None:
    _set(library, _USUAL)
    library.malloc_trim(0)


def _set(library: ctypes.CDLL, options: dict[int, int]) -> None:
    for option, value in options.items():
        library.mallopt(option, value)


@cache
def _gnu() -> ctypes.CDLL | None:
    """Return the GNU C library that this process runs on, or nothing if it runs on another."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    # musl has neither, and a program may have brought an allocator of its own, which has no use for either
    return library if hasattr(library, "gnu_get_libc_version") and hasattr(library, "mallopt") else None
