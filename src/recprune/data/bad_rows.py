"""Rows of text files that cannot be read, or that lack cells: counted, and kept to be looked at."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path

from recprune.data.quality import Finding
from recprune.errors import ParameterError
from recprune.folders import file_written_whole

__all__ = ["BadRow", "BadRows", "bad_rows_file"]


@dataclass(frozen=True)
class BadRow:
    """A row that was left out.

    Args:
        file: that holds it.
        line: its first line, from 1.
        reason: what is wrong.
        text: its line or lines; bytes that are not UTF-8 as ``\\xe9``.
    """

    file: str
    line: int
    reason: str
    text: str


@dataclass
class BadRows:
    """Collects what is wrong with single rows while files are read.

    Args:
        skip: leave bad rows out; else the first one is an error.
        skipped: the rows that were left out.
        short: rows with fewer cells than the header, whose other cells are read as missing.
        first_short: file and line of the first of them.
    """

    skip: bool = False
    skipped: list[BadRow] = field(default_factory=list)
    short: int = 0
    first_short: str = ""

    @classmethod
    def of(cls, on_bad_rows: str) -> BadRows:
        """Return an empty collector.

        Raises:
            ParameterError: ``on_bad_rows`` is neither ``"error"`` nor ``"skip"``.
        """
        if on_bad_rows not in ("error", "skip"):
            raise ParameterError.of("on_bad_rows", "read", '"error" or "skip"', on_bad_rows)
        return cls(on_bad_rows == "skip")

    def add_short(self, path: Path, lines: list[int]) -> None:
        """Note the lines of a file's short rows."""
        if lines and not self.short:
            self.first_short = f"file {str(path)!r}, line {lines[0]}"
        self.short += len(lines)

    def findings(self, label: str) -> tuple[Finding, ...]:
        """Return what was found, under the label's name as everything about rows."""
        found = []
        if self.skipped:
            first = self.skipped[0]
            action = f"left out; the first: file {first.file!r}, line {first.line}: {first.reason}"
            found.append(Finding("bad_rows", label, "warning", len(self.skipped), action))
        if self.short:
            action = (
                "have fewer cells than the header, read as missing; the first: " + self.first_short
            )
            found.append(Finding("short_rows", label, "warning", self.short, action))
        return tuple(found)

    def write(self, path: Path, with_text: bool = True) -> None:
        """Write the rows that were left out as CSV, whole or not at all: file, line, reason, text.

        Args:
            path: the file.
            with_text: False leaves the text empty, where it may hold an id that must not be kept.

        Raises:
            InputError: the file cannot be written.
        """
        with (
            file_written_whole(path) as partial,
            partial.open("w", encoding="utf-8", newline="") as file,
        ):
            writer = csv.writer(file)
            writer.writerow(("file", "line", "reason", "text"))
            for row in self.skipped:
                writer.writerow((row.file, row.line, row.reason, row.text if with_text else ""))


def bad_rows_file(output: Path) -> Path:
    """Return where the bad rows of an output folder are written.

    >>> bad_rows_file(Path("/tmp/data.rp")).name
    'data.rp.bad_rows.csv'
    """
    output = output.absolute()
    return output.with_name(f"{output.name}.bad_rows.csv")
