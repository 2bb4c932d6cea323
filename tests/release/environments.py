"""Clean environments for what was built, made in seconds and without a network.

The packages that the project's own environment has are linked into a new one: those alone to which
the archive's requirements lead. Then pip installs the archive there with no index to ask, and fails
where one is missing. So each environment holds what ``pip install 'recprune[EXTRA]'`` brings, and
nothing else.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

#: No variable that leads back to the source tree; one thread each.
CLEAN = {
    **{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "COLUMNS": "200",
}


@dataclass(frozen=True)
class Environment:
    """A virtual environment that holds an installed archive.

    Args:
        folder: where it lies.
    """

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def packages(self) -> Path:
        return next(self.folder.glob("lib/python3*/site-packages"))

    def call(self, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run the environment's Python in a folder, with nothing of ours."""
        return subprocess.run(
            [str(self.python), *map(str, arguments)],
            cwd=cwd,
            env={**CLEAN, "XDG_STATE_HOME": str(self.folder / "state")},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def recprune(self, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run the installed program in a folder."""
        return self.call(self.folder / "bin" / "recprune", *arguments, cwd=cwd)


def install(archive: Path, extra: str, folder: Path) -> Environment:
    """Install a wheel or a source archive in a new environment, with one extra; "" = the core."""
    made = Environment(folder)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    building = () if archive.suffix == ".whl" else (distribution("hatchling"),)
    for each in closure(archive, extra, building):
        link(each, made.packages)
    pip = [sys.executable, "-m", "pip", "--isolated", "--python", made.python, "install"]
    wanted = f"recprune[{extra}] @ {archive.as_uri()}" if extra else str(archive)
    options = ["--quiet", "--no-input", "--no-index", "--no-build-isolation"]
    done = subprocess.run(
        [*pip, *options, wanted], env=CLEAN, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return made


def metadata(archive: Path) -> Message:
    """Return what a wheel or a source archive says of itself."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            name = next(n for n in wheel.namelist() if n.endswith(".dist-info/METADATA"))
            return BytesParser().parsebytes(wheel.read(name))
    with tarfile.open(archive) as source:
        inner = source.extractfile(f"{archive.name.removesuffix('.tar.gz')}/PKG-INFO")
        assert inner is not None
        return BytesParser().parsebytes(inner.read())


def closure(archive: Path, extra: str, more: Iterable[Distribution] = ()) -> list[Distribution]:
    """Return the installed packages that an archive's core and one extra lead to."""
    own = [Requirement(line) for line in metadata(archive).get_all("Requires-Dist", [])]
    found: dict[str, Distribution] = {d.name: d for d in more}
    waiting = [("recprune", extra), *((d.name, "") for d in more)]
    seen = set(waiting)
    while waiting:
        name, part = waiting.pop()
        listed = own
        if name != "recprune":
            found[name] = distribution(name)
            listed = [Requirement(line) for line in found[name].requires or ()]
        for each in listed:
            if each.marker is None or each.marker.evaluate({"extra": part}):
                next_ones = {(canonicalize_name(each.name), p) for p in ("", *each.extras)}
                waiting += sorted(next_ones - seen)
                seen |= next_ones
    return list(found.values())


def link(package: Distribution, packages: Path) -> None:
    """Link an installed package's files into another environment; programs stay behind."""
    assert package.files is not None, f"{package.name} does not list its files"
    for file in package.files:
        there = packages / file
        if ".." in file.parts or not (here := Path(str(file.locate()))).is_file():
            continue
        there.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(here, there)
        except OSError:  # another file system
            shutil.copy2(here, there)
