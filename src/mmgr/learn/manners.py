"""Lightning, made to behave as a guest in somebody's program."""

from __future__ import annotations

import contextlib
import logging
import signal
import warnings
from collections.abc import Iterator

import lightning.pytorch as pl


@contextlib.contextmanager
def interruptible(trainer: pl.Trainer) -> Iterator[None]:
    """Let Ctrl-C end the training as it ends any other Python: Lightning exits, and ignores it from then on."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit:
        if trainer.interrupted:
            raise KeyboardInterrupt from None
        raise
    finally:
        if signal.getsignal(signal.SIGINT) is not handler:
            signal.signal(signal.SIGINT, handler)


@contextlib.contextmanager
def quiet_lightning() -> Iterator[None]:
    """Keep Lightning from telling of devices and of its paid services."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # Lightning 2.6 asks PyTorch 2.15 in a way that it will drop
            warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
