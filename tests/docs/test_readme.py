"""The README's two languages say the same, and its verbs are those of the command line."""

from __future__ import annotations

import re

import typer

from recprune.cli.main import app
from tests.docs.blocks import ROOT, blocks_of

NAMES = ("README.md", "README.zh-CN.md")
FIGURE = re.compile(r"[+−]?\d[\d,]*(?:\.\d+)?(?:×| ms| µs| s\b| %)?")


def text_of(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def rows(text: str) -> list[list[str]]:
    """The cells of the table of measurements, row by row, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|") and "```" not in line]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if len(row) == 4 and "---" not in row[0]][1:]


def test_both_languages_have_the_same_blocks() -> None:
    english, chinese = (
        [(block.language, block.code, block.comment) for block in blocks_of(text_of(name), name)]
        for name in NAMES
    )
    assert english == chinese
    assert len(english) >= 4


def test_both_languages_have_the_same_figures_and_commands_in_the_table() -> None:
    english, chinese = (rows(text_of(name)) for name in NAMES)
    assert len(english) == len(chinese) >= 20
    for ours, theirs in zip(english, chinese, strict=True):
        assert sorted(FIGURE.findall(ours[1])) == sorted(FIGURE.findall(theirs[1]))
        assert sorted(FIGURE.findall(ours[2])) == sorted(FIGURE.findall(theirs[2]))
        assert re.findall(r"`[^`]+`", ours[3]) == re.findall(r"`[^`]+`", theirs[3])


def test_every_row_of_the_table_is_repeated_by_a_command_that_there_is() -> None:
    commands = [re.findall(r"`([^`]+)`", row[3]) for row in rows(text_of("README.md"))]
    assert commands[0]  # "the same" is of the row above
    for command in (each for found in commands for each in found):
        module = re.fullmatch(r"python -m benchmarks\.(\w+) --json(?: --full)?", command)
        assert command.startswith("recprune demo") or module, command
        assert module is None or (ROOT / "benchmarks" / f"{module[1]}.py").is_file(), command


def test_verbs_are_those_of_the_command_line() -> None:
    verbs = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    for name in NAMES:
        line = re.search(r"^`recprune ((?:\w+ \| )+\w+)`", text_of(name), re.M)
        assert line is not None
        single = line[1].split(" | ")
        assert len(single) == len(set(single))
        assert {*single, "demo", "run"} == verbs
