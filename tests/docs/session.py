"""The Python of one page: a process of the page's environment that runs its blocks one by one.

It takes requests as lines of JSON on stdin and answers each with ``done`` or ``failed`` on the
descriptor of its first argument; what blocks print goes to stdout and stderr as it is. Not a
module of the tests: it runs in environments that have none of their packages.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import traceback
import types
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def names_given(page: str) -> dict[str, Any]:
    """Make what a page presupposes in the working folder; return the names it presupposes."""
    sys.path.insert(0, str(ROOT))
    try:
        spec = importlib.util.spec_from_file_location("given", Path(__file__).with_name("given.py"))
        assert spec is not None
        assert spec.loader is not None
        given = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(given)
        make = given.GIVEN.get(page)
        return {} if make is None else (make() or {})
    finally:
        sys.path.remove(str(ROOT))


def main() -> None:
    """Answer requests until there are no more."""
    replies = os.fdopen(int(sys.argv[1]), "w")
    os.set_inheritable(replies.fileno(), False)
    requests = os.fdopen(os.dup(0), "r")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    # As where they are typed in: names in an empty __main__, modules from the working folder too.
    typed = types.ModuleType("__main__")
    sys.modules["__main__"] = typed
    sys.path[0] = ""
    for line in requests:
        request = json.loads(line)
        try:
            if "given" in request:
                vars(typed).update(names_given(request["given"]))
            else:
                os.environ.clear()
                os.environ.update(request["environment"])
                os.chdir(request["folder"])
                code = "\n" * (request["line"] - 1) + request["code"]
                exec(compile(code, request["page"], "exec"), vars(typed))
            outcome = "done"
        except BaseException:  # noqa: BLE001 - whatever it is, it is the block's failure
            traceback.print_exc()
            outcome = "failed"
        sys.stdout.flush()
        sys.stderr.flush()
        replies.write(outcome + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
