"""Errors say what to do next, and end the program with the right code."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from recprune import errors
from recprune.errors import BudgetError, MissingExtra, ParameterError, RecpruneError, nearest


def all_errors() -> list[type[RecpruneError]]:
    classes = [c for _, c in inspect.getmembers(errors, inspect.isclass)]
    return [c for c in classes if issubclass(c, RecpruneError)]


@pytest.mark.parametrize("error", all_errors(), ids=lambda c: c.__name__)
def test_the_tree_in_the_docstring_is_the_tree(error: type[RecpruneError]) -> None:
    assert error.__name__ in (errors.__doc__ or "")
    assert error.__name__ in errors.__all__
    assert error.__doc__
    bad_usage = issubclass(error, ValueError) or error is MissingExtra
    assert error.exit_code == (2 if bad_usage else 3 if error is BudgetError else 1)


def test_one_grammar_for_parameters() -> None:
    error = ParameterError.of("rounds", "prune", "an int ≥ 1", 0)
    assert str(error) == "The 'rounds' parameter of prune must be an int ≥ 1. Got 0 instead."


def test_the_nearest_name_ignores_case_and_gives_up_politely() -> None:
    assert nearest("AGE", ["age", "income"]) == " Did you mean 'age'?"
    assert nearest("zzz", []) == ""
    many = nearest("zzz", [f"column_{i}" for i in range(15)])
    assert many.endswith("'column_11' and 3 more.")


def test_a_missing_extra_says_how_to_install_it() -> None:
    from recprune._support import require

    with pytest.raises(MissingExtra, match=r"pip install 'recprune\[trees\]'"):
        require("no_such_package.part", "trees")
    assert require("json", "trees").dumps(1) == "1"


@pytest.mark.parametrize("kind", ["ImportError", "OSError"])
def test_a_broken_installation_is_not_called_absent(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recprune._support import require

    (tmp_path / "broken_package.py").write_text(f"raise {kind}('libodd.so: no such file')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingExtra, match=r"cannot be imported \(libodd.so: no such file\)"):
        require("broken_package", "trees")
