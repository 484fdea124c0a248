"""Numba's compiler with types kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., object])


def compiled(*, parallel: bool = False) -> Callable[[F], F]:
    """Compile a function of numbers and arrays to machine code, kept on disk after the first call."""

    def wrap(function: F) -> F:
        return cast("F", numba.njit(cache=True, parallel=parallel)(function))

    return wrap
