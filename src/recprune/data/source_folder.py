"""Tables in several files: which files a folder or a glob names, and one table from them."""

from __future__ import annotations

import glob
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl

from recprune.errors import DataError

__all__ = ["attach", "check_columns", "check_form", "files_of", "is_glob", "stack"]

Read = tuple[pl.DataFrame, bool]


def is_glob(path: Path) -> bool:
    """Tell whether a path is a pattern and no name of its own."""
    return glob.has_magic(str(path)) and not path.exists()


def files_of(path: Path, readable: Callable[[Path], bool], known: str) -> list[Path]:
    """Return the files of a folder (those that are readable) or of a glob (all), sorted by name.

    Args:
        path: the folder or pattern.
        readable: whether a file's name tells a known form.
        known: the known forms, for the error.

    Raises:
        DataError: there is no such file.
    """
    if is_glob(path):
        found = [Path(name) for name in glob.glob(str(path), recursive=True)]
        files = [file for file in found if file.is_file()]
        if not files:
            raise DataError(f"No file matches {str(path)!r}. Check the folder and the pattern.")
    else:
        found = [file for file in path.iterdir() if not file.name.startswith((".", "_"))]
        files = [file for file in found if file.is_file() and readable(file)]
        if not files:
            raise DataError(
                f"Folder {str(path)!r} has no file that can be read. Known: {known}. Name a file, "
                "or the folder that holds the files itself."
            )
    return sorted(files)


def stack(files: Sequence[Path], read: Callable[[Path], Read]) -> Read:
    """Read files with the same columns and return their rows one after the other.

    Raises:
        DataError: a file whose columns differ from the first one's, in name or in type.
    """
    first, from_text = read(files[0])
    frames = [first]
    for file in files[1:]:
        frame, as_text = read(file)
        check_columns(files[0], first.columns, file, frame.columns)
        check_form(files[0], from_text, file, as_text)
        frames.append(frame.select(first.columns))
    try:
        return pl.concat(frames, how="vertical_relaxed"), from_text
    except pl.exceptions.PolarsError as error:
        raise _other_types(files, frames) from error


def attach(frame: pl.DataFrame, file: Path, side: pl.DataFrame, key: str) -> pl.DataFrame:
    """Add to each row the columns that another file has for its user or item.

    Args:
        frame: the rows.
        file: where ``side`` comes from, for the errors.
        side: one row a user or item.
        key: column of both that holds the id.

    Raises:
        DataError: a key that is absent or comes twice, and a column that both have.
    """
    for owner, columns in ((f"File {str(file)!r}", side.columns), ("The rows", frame.columns)):
        if key not in columns:
            raise DataError(
                f"{owner} must have a column {key!r} to be joined by; got {columns}. Rename the id."
            )
    twice = side[key].drop_nulls()
    twice = twice.filter(twice.is_duplicated())
    if len(twice):
        raise DataError(
            f"File {str(file)!r} has {key} {twice[0]!r} twice; each may have one row. Remove the "
            "other."
        )
    both = [name for name in side.columns if name in frame.columns and name != key]
    if both:
        raise DataError(
            f"File {str(file)!r} has a column {both[0]!r} that the rows have too. Rename one of them."
        )
    return frame.join(side, on=key, how="left", maintain_order="left")


def check_columns(first: Path, known: Sequence[str], file: Path, names: Sequence[str]) -> None:
    """Refuse a file with other columns than the first one's.

    Raises:
        DataError: names both files and the columns.
    """
    lacks = [c for c in known if c not in names]
    more = [c for c in names if c not in known]
    if lacks or more:
        words = [f"lacks {_listed(lacks)}"] * bool(lacks)
        words += [f"has {_listed(more)} besides"] * bool(more)
        raise DataError(
            f"File {str(file)!r} {' and '.join(words)}, compared with {str(first)!r}. Files that are "
            "read together need the same columns: correct it, or leave it out."
        )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return f"{list(names[:6])}{more}"


def check_form(first: Path, from_text: bool, file: Path, as_text: bool) -> None:
    """Refuse a file of text beside one that knows its types.

    Raises:
        DataError: names both.
    """
    if as_text != from_text:
        raise DataError(
            f"File {str(file)!r} is of another form than {str(first)!r}: one knows the types of its "
            f'columns, the other is text. Read one form, such as "*{file.suffix}".'
        )


def _other_types(files: Sequence[Path], frames: Sequence[pl.DataFrame]) -> DataError:
    for file, frame in zip(files, frames, strict=True):
        for name, kind in frame.schema.items():
            try:
                pl.concat([frames[0][[name]], frame[[name]]], how="vertical_relaxed")
            except pl.exceptions.PolarsError:
                return DataError(
                    f"File {str(file)!r}: column {name!r} holds {kind}, but {frames[0].schema[name]} "
                    f"in {str(files[0])!r}. Write the files with one type."
                )
    return DataError(
        f"The {len(files)} files from {str(files[0])!r} on have columns without a type in common. "
        "Write them with one type each."
    )
