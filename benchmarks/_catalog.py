"""The benchmarks that there are, what their claims say, and the files that their figures depend on."""

from __future__ import annotations

import ast
import hashlib
import operator
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks._cells import code_version
from benchmarks._common import ROOT

__all__ = ["Benchmark", "Family", "benchmarks", "fingerprint", "sources"]

HERE = Path(__file__).parent
SIGNS = {">=": operator.ge, "<=": operator.le, "==": operator.eq}
#: Files beside the modules that figures depend on.
ALSO = ("profiles/serving_host.json", "requirements-peers.txt", "requirements-recbole.txt")


@dataclass(frozen=True)
class Family:
    """Claims of one form; the entries of ``claims.toml`` say what each of these is.

    Args:
        id: of the claims, with ``*`` for any letters.
        says: what a value is, in one line.
        aim: a sign and a number, or, with ``holds``, its text; None = there is none.
        holds: what in a claim's detail says whether the aim is reached.
        aim_of: the ids that the aim is of, ``*`` as above; none = all.
        shows: absolute figures, as label, path in the detail and unit.
    """

    id: str
    says: str
    aim: str | None = None
    holds: str | None = None
    aim_of: Sequence[str] = ()
    shows: Sequence[tuple[str, str, str]] = ()

    def aim_for(self, claim: Mapping[str, Any]) -> str | None:
        """Return the aim of one of its claims, None where there is none."""
        of = not self.aim_of or any(fnmatchcase(claim["id"], form) for form in self.aim_of)
        return self.aim if of else None

    def reached(self, claim: Mapping[str, Any]) -> bool | None:
        """Return whether a claim reaches its aim; None without an aim."""
        aim = self.aim_for(claim)
        if aim is None:
            return None
        if self.holds is not None:
            return bool(claim["detail"][self.holds])
        sign, number = self.limit(aim)
        return bool(SIGNS[sign](claim["value"], number))

    @staticmethod
    def limit(aim: str) -> tuple[str, float]:
        """Return the sign and the number of an aim.

        >>> Family.limit(">= 5")
        ('>=', 5.0)
        """
        sign, number = aim.split()
        if sign not in SIGNS:
            raise ValueError(f"An aim begins with one of {', '.join(SIGNS)}. Got {aim!r}.")
        return sign, float(number)


@dataclass(frozen=True)
class Benchmark:
    """A benchmark and what is known of it beforehand.

    Args:
        name: of its module.
        title: of its part of the page.
        minutes: that a whole run takes on two cores, about.
        timed: whether its claims are of time or memory.
        families: of its claims.
    """

    name: str
    title: str
    minutes: float
    timed: bool
    families: tuple[Family, ...]

    def family(self, id: str) -> Family:
        """Return the form that a claim is of; of several that which says most.

        Raises:
            ValueError: there is none.
        """
        fitting = [family for family in self.families if fnmatchcase(id, family.id)]
        if fitting:
            return max(fitting, key=lambda family: len(family.id))
        raise ValueError(
            f"benchmarks/claims.toml does not say what the claim {id!r} of {self.name} is. Add it."
        )


@cache
def benchmarks() -> Mapping[str, Benchmark]:
    """Return all benchmarks by name, in the order of ``claims.toml``.

    Raises:
        ValueError: it names other benchmarks than there are modules.
    """
    stated = tomllib.loads((HERE / "claims.toml").read_text("utf-8"))
    modules = {file.stem for file in HERE.glob("*.py") if not file.stem.startswith("_")}
    if odd := stated.keys() ^ modules:
        raise ValueError(f"In benchmarks/claims.toml or a module alone: {', '.join(sorted(odd))}.")
    return {
        name: Benchmark(
            name, one["title"], one["minutes"], one["timed"],
            tuple(_family(family) for family in one["claims"]),
        )
        for name, one in stated.items()
    }  # fmt: skip


def _family(stated: dict[str, Any]) -> Family:
    shows = tuple((label, path, unit) for label, path, unit in stated.pop("shows", ()))
    return Family(**stated, shows=shows)


def sources(name: str) -> tuple[Path, ...]:
    """Return the files, outside of the package, that a benchmark's figures depend on, sorted."""
    found: set[Path] = set()
    waiting = [HERE / f"{name}.py"]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting += _imported(file)
    return (*sorted(found), *(HERE / also for also in ALSO))


def fingerprint(name: str, settings: Sequence[str]) -> str:
    """Return a hash of all that a benchmark's figures depend on: code, peers, and ``settings``."""
    peers = sorted(
        folder.name
        for folder in ROOT.glob(".venv-*/lib/python3*/site-packages/*.dist-info")
        if not folder.name.startswith("recprune-")
    )
    parts = (code_version((".",), sources(name)), *settings, *peers)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _imported(file: Path) -> list[Path]:
    """Return the modules of the benchmarks and the tests that a file imports, also in scripts."""
    tree = ast.parse(file.read_text("utf-8"))
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names |= set(re.findall(r"from (benchmarks\.\w+) import", node.value))
    parts = (name.split(".") for name in names if name.startswith(("benchmarks.", "tests.")))
    files = (ROOT.joinpath(*part).with_suffix(".py") for part in parts)
    return [file for file in files if file.is_file()]
