"""The program within the tests' own process: what a new one takes to load is not what is tested.

How it starts, prints and ends as a process of its own is tested in ``test_cli``.
"""

from __future__ import annotations

import io
import subprocess
import sys
import warnings
from contextlib import redirect_stderr, redirect_stdout

import pytest

from recprune.cli import main


def inside(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run ``recprune`` with these arguments; warnings are printed, as the program does.

    They are given again afterwards, to whoever waits for them.
    """
    words, out, err = ["recprune", *map(str, arguments)], io.StringIO(), io.StringIO()
    code: object = 0
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(record=True) as given:
        patch.setattr(sys, "argv", words)
        patch.setattr(warnings, "formatwarning", warnings.formatwarning)  # main sets its own
        warnings.simplefilter("default")
        with redirect_stdout(out), redirect_stderr(err):
            try:
                main()
            except SystemExit as end:
                code = end.code
        for each in given:
            err.write(
                warnings.formatwarning(each.message, each.category, each.filename, each.lineno)
            )
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        for each in given:
            warnings.warn_explicit(each.message, None, each.filename, each.lineno)
    assert isinstance(code, int)
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())
