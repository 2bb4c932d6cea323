"""The plan of the house as docs/architecture.md draws it, and the imports as the code has them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "recprune"
MODULES = sorted(SOURCE.rglob("*.py"))


def _block(kind: str) -> str:
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    found = re.search(rf"^```{kind}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert found, f"docs/architecture.md has no block ```{kind}"
    return found[1]


#: First part of a module's name → its floor.
FLOORS = {
    part: int(floor)
    for floor, *parts in (line.split() for line in _block("floors").splitlines())
    for part in parts
}

#: What stands beside the floors → what it may see.
SIDE = {name: set(seen) for name, *seen in (line.split() for line in _block("side").splitlines())}
#: What stands beside the floors → who may import it, besides itself.
SEEN_BY = {
    "runtime": {"export", "importance", "pipeline", "serving", "streaming", "cli"},
    "security": {"serving", "cli"},
    "serving": {"cli"},
    "streaming": {"erasure", "cli"},
}


def dotted(module: Path) -> str:
    """Return ``models.ranker`` for src/recprune/models/ranker.py; a package's own name for it."""
    parts = module.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {dotted(m) for m in MODULES}


def imports(module: Path) -> Iterator[tuple[int, str]]:
    """Yield line and target of every import of ours, also inside functions and for typing only.

    ``""`` stands for the package itself: the public surface.
    """
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "recprune":
                    yield node.lineno, alias.name.partition(".")[2]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}:{node.lineno}: imports are absolute here"
            package, _, rest = (node.module or "").partition(".")
            if package != "recprune":
                continue
            for alias in node.names:
                inner = f"{rest}.{alias.name}" if rest else alias.name
                if inner in NAMES:
                    yield node.lineno, inner
                elif rest or alias.name != "__version__":
                    yield node.lineno, rest
