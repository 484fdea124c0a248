"""Memory that is kept while a model runs."""

from __future__ import annotations

import mmap
import platform
import resource
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from mmgr import memory
from mmgr.memory import kept_memory

MB = 2**20
gnu = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not GNU's")


def new_pages(megabytes: int = 64) -> int:
    """Write to a new array, and return how many pages the kernel had to bring for it."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.empty(megabytes * MB, np.uint8).fill(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * mmap.PAGESIZE / MB


def check_pages() -> None:
    """What the tests see of the allocator, in a process that has no other threads and no history."""
    pages = 64 * MB // mmap.PAGESIZE // 2  # or huge pages, which are fewer
    begun = resident_mb()
    with kept_memory():
        new_pages()
        with kept_memory():
            new_pages()
        assert new_pages() < pages / 4, "memory is given back inside"
        assert resident_mb() > begun + 48
    assert resident_mb() < begun + 16, "memory is kept outside"
    # and a second time
    with kept_memory():
        new_pages()
        assert new_pages() < pages / 4
    assert resident_mb() < begun + 16


@gnu
def test_freed_memory_is_used_again_inside_and_given_back_at_the_end() -> None:
    code = "import test_memory; test_memory.check_pages()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_it_is_kept_until_the_last_thread_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, int]] = []

    class Library:
        def mallopt(self, option: int, value: int) -> int:
            calls.append((option, value))
            return 1

        def malloc_trim(self, pad: int) -> int:
            calls.append((0, pad))
            return 1

    monkeypatch.setattr(memory, "_gnu", Library)
    inside, leave = threading.Event(), threading.Event()

    @kept_memory()
    def other() -> None:
        inside.set()
        leave.wait(10)

    thread = threading.Thread(target=other)
    with kept_memory():
        begun = len(calls)
        thread.start()
        inside.wait(10)
    assert len(calls) == begun  # the other thread is still inside
    leave.set()
    thread.join()
    assert calls[-1] == (0, 0)


def test_an_error_inside_leaves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_users", memory._Users())
    with pytest.raises(ZeroDivisionError), kept_memory():
        _ = 1 / 0
    first: list[int] = []
    memory._users.enter(lambda: first.append(1))
    memory._users.leave(lambda: None)
    assert first == [1]


def test_another_c_library_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_gnu", lambda: None)
    with kept_memory():
        pass
