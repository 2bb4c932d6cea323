"""Writers of an audit log as processes of their own, to be killed or to run out of disk."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

from recprune.security import Audit, AuditUnavailable

from .asking import AUDIT_KEY


def events(log: Path, name: str, count: int) -> None:
    """Write events, and say after each that it is on the disk."""
    audit = Audit(log, AUDIT_KEY)
    for i in range(count):
        audit.event("test", name=name, i=i, text="x" * 150)
        print(i, flush=True)


def within(log: Path, most: int) -> None:
    """Write until a file may not grow further, then with room again; print what happened."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    audit = Audit(log, AUDIT_KEY)
    written = 0
    try:
        while True:
            audit.event("test", i=written)
            written += 1
    except AuditUnavailable:
        size = log.stat().st_size
    for i in range(5000):
        audit.count("shop", f"route {i}", "200")
    audit.count("shop", "route 0", "200")
    refused = audit.flush()
    waiting = audit.waiting
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    done = audit.flush()
    audit.event("test", i=written)
    print(written, size, refused, waiting, audit.failures, done, audit.waiting)


if __name__ == "__main__":
    what, log, *words = sys.argv[1:]
    os.setpgrp()
    if what == "events":
        events(Path(log), words[0], int(words[1]))
    else:
        within(Path(log), int(words[0]))
