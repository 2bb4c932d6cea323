"""Write docs/comparison.md from the files in docs/comparison.

``features.toml`` has the questions and the order of the systems, ``NAME.toml`` one system: its
sources, and its cells, each with a value, a reason and the sources that it rests on. What they have
to hold is asserted by ``tests/docs/test_comparison.py``.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[1] / "docs"
DATA = DOCS / "comparison"
PAGE = DOCS / "comparison.md"

#: How a value reads: the word says it, and the mark helps the eye.
VALUES = {
    "yes": "✓ yes",
    "partly": "◐ partly",
    "no": "✗ no",
    "unstated": "– not stated",
    "unchecked": "– could not be checked",
}

OPENING = """\
# Comparison with other tools

<!-- Written by tools/comparison.py from the files in docs/comparison; edit those. -->

The code of published methods for recommenders (ERASE, ShuffleGate, DeepLight, PEP, OptEmbed, \
recsys-benchmark) decides what a model does not need, but most of it ends with a mask or a ranking, and \
none judges the smaller model by more than single figures. General compressors (Torch-Pruning, Neural \
Compressor, NNCF) do more than recprune for image and language models, GPUs and fewer bits, and \
TorchRec does for tables that fill a cluster; none of these four prunes fields, and only TorchRec \
prunes rows. recprune is for what lies between: recommenders and rankers of tables that shall get \
smaller and be served on processors, where somebody has to know that the smaller model is no worse.

Read in November 2026. Every cell names what it rests on: the numbers in the tables lead there, and \
the reasons stand below, system by system.

| in a cell | means |
|---|---|
| ✓ yes | what was read does it |
| ◐ partly | some of it, or only in the paper; the reason says which |
| ✗ no | what was read does not do it; for a package, its code was searched |
| – not stated | the source says nothing of it, and there was no code to look into |
| – could not be checked | where one would look was out of reach |
"""


def load() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the groups of features and the systems, in the order of the page."""
    plan = tomllib.loads((DATA / "features.toml").read_text("utf-8"))
    systems = [
        tomllib.loads((DATA / f"{name}.toml").read_text("utf-8")) for name in plan["systems"]
    ]
    return plan["groups"], systems


def anchor(heading: str) -> str:
    """Return the fragment that leads to a heading of letters, digits, spaces and hyphens."""
    return heading.lower().replace(" ", "-")


def address(system: dict[str, Any], source: str) -> str:
    """Return where a source is found, as a link's target."""
    at: str = system["sources"][source]["at"]
    return at if at.startswith("https://") or "base" not in system else system["base"] + at


def references(system: dict[str, Any], cell: dict[str, Any]) -> str:
    """Return the numbers of a cell's sources, each as a link by its label."""
    names, to = list(system["sources"]), anchor(system["name"])
    numbers = [names.index(source) + 1 for source in cell["by"]]
    return " ".join(f"[{number}][{to}-{number}]" for number in numbers)


def value(cell: dict[str, Any]) -> str:
    """Return what a cell says: a mark and a word, or a text of its own."""
    return cell["text"] if "text" in cell else VALUES[cell["is"]]


def table(group: dict[str, Any], systems: list[dict[str, Any]]) -> list[str]:
    """Return one group of features as lines: what is asked, and a row a system."""
    features = group["features"]
    lines = [f"### {group['name']}", ""]
    lines += [f"- **{f['head']}**: {f['asks']}" for f in features]
    lines += ["", "| | " + " | ".join(f["head"] for f in features) + " |"]
    lines += ["|---" * (len(features) + 1) + "|"]
    for system in systems:
        found = {of: cell for cell in system["cells"] for of in cell["of"]}
        cells = [found[f["id"]] for f in features]
        said = " | ".join(f"{value(cell)} {references(system, cell)}" for cell in cells)
        lines.append(f"| [{system['name']}](#{anchor(system['name'])}) | {said} |")
    return [*lines, ""]


def reasons(system: dict[str, Any], heads: dict[str, str]) -> list[str]:
    """Return one system as lines: what was read, the reason for every cell, and the sources."""
    lines = [f"### {system['name']}", "", f"Read: {system['read']}.", ""]
    for cell in system["cells"]:
        why = f": {cell['why']}" if "why" in cell else ""
        of = ", ".join(heads[f] for f in cell["of"])
        lines.append(f"- **{of}** {value(cell)}{why} ({references(system, cell)})")
    lines += ["", "Sources:", ""]
    for number, (name, source) in enumerate(system["sources"].items(), start=1):
        test = f"; `{source['test']}`" if "test" in source else ""
        lines.append(f"{number}. [{source['of']}]({address(system, name)}){test}")
    return [*lines, ""]


def labels(system: dict[str, Any]) -> list[str]:
    """Return where the numbers of one system's sources lead."""
    sources = enumerate(system["sources"], start=1)
    return [f"[{anchor(system['name'])}-{n}]: {address(system, source)}" for n, source in sources]


def page() -> str:
    """Return the whole page as Markdown."""
    groups, systems = load()
    heads = {f["id"]: f["head"] for group in groups for f in group["features"]}
    lines = [OPENING, "## Which one to take", ""]
    lines += [
        f"- **[{system['name']}](#{anchor(system['name'])})** is best at {system['best']}. "
        f"Take it if {system['take']}."
        for system in systems
    ]
    lines += ["", "## Feature by feature", ""]
    for group in groups:
        lines += table(group, systems)
    lines += ["## Sources and reasons", ""]
    for system in systems:
        lines += reasons(system, heads)
    for system in systems:
        lines += labels(system)
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
