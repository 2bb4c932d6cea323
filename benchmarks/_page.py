"""Writes ``docs/benchmarks.md`` from the published results, ``benchmarks/NAME.json``.

The page is a function of these files and of ``claims.toml`` alone, so that anyone can write it again.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks._catalog import Benchmark, Family, benchmarks
from benchmarks._cells import RESULTS
from benchmarks._common import ROOT
from benchmarks._figures import absolute, aim_text, value_text

__all__ = ["page", "publish", "published", "write"]

PUBLISHED = ROOT / "benchmarks"
PAGE, CHART = ROOT / "docs" / "benchmarks.md", ROOT / "docs" / "benchmarks.png"
#: Units of figures that differ from machine to machine: they come last.
OF_THE_MACHINE = ("seconds", "bytes", "GB", "rows/s")
Result = Mapping[str, Any]

HEAD = """\
# Benchmarks

<!-- Written by `python -m benchmarks page` from benchmarks/*.json. Do not edit. -->

Ours and the peer's work are run on the same data in the same run, in turn, a median of at least five
after a warm-up. Ratios come first: they hold across machines better than seconds do. A ratio is above
1 where ours is better, unless its line says otherwise. Where an aim was set, it stands beside the
value; a claim that misses it says **not reached**.

<!-- not run: hours of both cores -->
```sh
make bench            # everything, some {hours:.0f} hours on two cores; goes on where it was stopped
make bench-quick      # small and rough, some ten minutes: shows that all of it runs
make bench-publish    # copies the results of make bench here, and writes this page again
```

Both first make the peers' environments (`make bench-peers`, several gigabytes) and look for `wrk`,
which a root user of Debian gets installed; neither counts among these times. The public data sets are
read from `../shared/data`, MovieLens 100k from the package RecBole. Timings want a machine with
nothing else to do.
"""


def published(folder: Path = PUBLISHED) -> dict[str, Result]:
    """Return the published results by benchmark, in the order of the page.

    Raises:
        ValueError: a file holds something else than the result of a whole run.
    """
    found = {}
    for name in benchmarks():
        file = folder / f"{name}.json"
        if file.exists():
            result = json.loads(file.read_text("utf-8"))
            refuse(name, result)
            found[name] = result
    known = {f"{name}.json" for name in found}
    if odd := sorted(file.name for file in folder.glob("*.json") if file.name not in known):
        raise ValueError(f"{odd[0]} is no result of a benchmark. Move it out of {folder.name}/.")
    return found


def refuse(name: str, result: Result) -> None:
    """Refuse what is not the result of a whole run of committed code.

    Raises:
        ValueError: why.
    """
    commit = result["environment"]["commit"]
    again = f"Run it again: python -m benchmarks run {name} --again {name}."
    if result["benchmark"] != name:
        raise ValueError(f"{name}.json holds a result of {result['benchmark']!r}.")
    if result["quick"]:
        raise ValueError(f"{name}.json is of a quick run, which is not for publication. {again}")
    if not commit or commit.endswith("+"):
        raise ValueError(f"{name}.json is of code that was not committed ({commit}). {again}")
    if not result["claims"]:
        raise ValueError(f"{name}.json has no claims. {again}")


def publish(names: Sequence[str] | None, source: Path = RESULTS, to: Path = PUBLISHED) -> None:
    """Copy results of whole runs beside the benchmarks.

    Args:
        names: of benchmarks; None = all that have a result.
        source: the folder of results.
        to: where they are published.

    Raises:
        ValueError: a named benchmark has no result, or one is refused; nothing is copied then.
    """
    chosen = [name for name in names or benchmarks() if names or (source / f"{name}.json").exists()]
    for name in chosen:
        file = source / f"{name}.json"
        if not file.exists():
            raise ValueError(f"{name} has no result. Make it: python -m benchmarks run {name}.")
        refuse(name, json.loads(file.read_text("utf-8")))
    if not chosen:
        raise ValueError(f"There is no result in {source}. Make them: make bench.")
    for name in chosen:
        shutil.copyfile(source / f"{name}.json", to / f"{name}.json")
        print(f"{name}.json", file=sys.stderr)


def write() -> None:
    """Write the page and its chart."""
    from benchmarks._chart import draw

    results = published()
    drawn = draw(results, CHART)
    PAGE.write_text(page(results, drawn), encoding="utf-8")


def page(results: Mapping[str, Result], chart: bool) -> str:
    """Return the page.

    Args:
        results: published ones, by benchmark.
        chart: whether there is a chart.
    """
    known = benchmarks()
    hours = sum(one.minutes for one in known.values()) / 60
    parts = [HEAD.format(hours=hours), *_summary(results)]
    if chart:
        parts.append(
            "![Ratios against peers, by claim, with their aims]"
            "(benchmarks.png)\n\nRatios against a peer; the tick is the aim, and a cross is below it.\n"
        )
    parts += [_section(known[name], result) for name, result in results.items()]
    return "\n".join(parts)


def _summary(results: Mapping[str, Result]) -> Iterator[str]:
    known = benchmarks()
    judged = [
        (name, claim, family, family.reached(claim))
        for name, result in results.items()
        for claim in result["claims"]
        for family in (known[name].family(claim["id"]),)
    ]
    with_aim = [one for one in judged if one[3] is not None]
    if with_aim:
        reached = sum(bool(one[3]) for one in with_aim)
        yield f"**{reached} of {len(with_aim)} claims that have an aim reach it.**\n"
    if below := [one for one in with_aim if not one[3]]:
        yield "## Below their aim\n"
        yield "| claim | value | aim | benchmark |\n|---|---|---|---|"
        for name, claim, family, _ in below:
            aim = aim_text(family.aim_for(claim) or "", claim["unit"])
            link = f"[{known[name].title}](#{_anchor(known[name].title)})"
            yield f"| `{claim['id']}` | {value_text(claim['value'], claim['unit'])} | {aim} | {link} |"
        yield ""
    if missing := [one for name, one in known.items() if name not in results]:
        yield "## Not measured yet at this version\n"
        yield from (f"- {one.title}: `python -m benchmarks.{one.name} --json`" for one in missing)
        yield ""


def _section(benchmark: Benchmark, result: Result) -> str:
    about = result["environment"]
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    full = " --full" if result.get("full") else ""
    lines = [
        f"## {benchmark.title}\n",
        f"`python -m benchmarks.{benchmark.name} --json{full}`, {_minutes(result['seconds'])}; "
        f"{about['cpu']}, {about['threads']} threads; {about['date']}, commit `{about['commit']}`; "
        f"{versions}.\n",
        "| claim | value | aim | what it is | peer | figures |",
        "|---|---|---|---|---|---|",
    ]
    said: set[str] = set()
    for family, claim in _in_order(benchmark, result):
        lines.append(_row(family, claim, family.id in said))
        said.add(family.id)
    lines += [
        f"| `{family.id}` | not measured | | {family.says} | | |"
        for family in benchmark.families
        if family.id not in said
    ]
    return "\n".join(lines) + "\n"


def _in_order(benchmark: Benchmark, result: Result) -> list[tuple[Family, Result]]:
    """Return the claims by their form, those that differ from machine to machine last."""
    pairs = [(benchmark.family(claim["id"]), claim) for claim in result["claims"]]
    places = {family.id: place for place, family in enumerate(benchmark.families)}
    return sorted(pairs, key=lambda pair: (pair[1]["unit"] in OF_THE_MACHINE, places[pair[0].id]))


def _row(family: Family, claim: Result, again: bool) -> str:
    aim, reached = family.aim_for(claim), family.reached(claim)
    told = "" if aim is None else aim_text(aim, claim["unit"])
    if reached is not None:
        told += ", reached" if reached else ", **not reached**"
    cells = (
        f"`{claim['id']}`",
        f"**{value_text(claim['value'], claim['unit'])}**",
        told,
        "as above" if again else family.says,
        claim["peer"] or "",
        absolute(family.shows, claim["detail"]),
    )
    return f"| {' | '.join(cell.replace('|', '∣') for cell in cells)} |"


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} minutes"


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")
