"""Verbs that ``torchrun`` starts many times over: one of the processes speaks for all."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recprune.models.parallel import Group

__all__ = ["speaking_once"]


@contextlib.contextmanager
def speaking_once() -> Iterator[Group | None]:
    """Join the processes that ``torchrun`` started, all but the first in silence but for errors.

    None where it did not start this one. Ended by ``torchrun``, since another process has failed, a
    process takes away what it has half-written.
    """
    from recprune.models.parallel import launched

    with launched() as group, contextlib.ExitStack() as stack:
        if group is not None:
            before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
            stack.callback(signal.signal, signal.SIGTERM, before)
            if group.rank:
                nowhere = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
                stack.enter_context(contextlib.redirect_stdout(nowhere))
                stack.enter_context(contextlib.redirect_stderr(nowhere))
                logging.disable(logging.CRITICAL)
                stack.callback(logging.disable, logging.NOTSET)
        yield group
