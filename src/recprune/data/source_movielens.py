"""MovieLens releases: ratings with the user's and the film's columns, as one table of text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from recprune.data.source_bytes import read_lines, read_rows
from recprune.data.source_csv import read_csv
from recprune.data.source_folder import attach
from recprune.schema import Kind

__all__ = ["MOVIELENS_KINDS", "is_movielens", "read_movielens"]

RATING = ("user_id", "item_id", "rating", "timestamp")
GENRES = [
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
]
#: Columns that look like numbers and count nothing.
MOVIELENS_KINDS: dict[str, Kind] = dict.fromkeys(
    ("user_id", "item_id", "userId", "movieId", "zip_code"), "categorical"
)
#: What the codes of users.dat mean, by the README of the release: they count nothing.
OCCUPATIONS = (
    "other",
    "academic/educator",
    "artist",
    "clerical/admin",
    "college/grad student",
    "customer service",
    "doctor/health care",
    "executive/managerial",
    "farmer",
    "homemaker",
    "K-12 student",
    "lawyer",
    "programmer",
    "retired",
    "sales/marketing",
    "scientist",
    "self-employed",
    "technician/engineer",
    "tradesman/craftsman",
    "unemployed",
    "writer",
)


@dataclass(frozen=True)
class Side:
    """A file of users' or films' columns; the first column is the key."""

    name: str
    separator: str
    columns: tuple[str, ...]


#: File of ratings → its separator, and the files beside it.
RELEASES = {
    "u.data": (
        "\t",
        Side("u.user", "|", ("user_id", "age", "gender", "occupation", "zip_code")),
        Side(
            "u.item",
            "|",
            ("item_id", "title", "release_date", "video_release_date", "imdb_url", *GENRES),
        ),
    ),
    "ratings.dat": (
        "::",
        Side("users.dat", "::", ("user_id", "gender", "age", "occupation", "zip_code")),
        Side("movies.dat", "::", ("item_id", "title", "genres")),
    ),
}


def is_movielens(path: Path) -> bool:
    """Tell whether a path is a release's folder, or its ``u.data`` or ``ratings.dat``."""
    if not path.is_dir():
        return path.name in RELEASES
    return any((path / name).is_file() for name in RELEASES) or _both_csv(path)


def read_movielens(path: Path) -> pl.DataFrame:
    """Return the ratings joined with the users' and films' columns, all text.

    A file of users or films that the release lacks is left out. Occupations given by number get
    their names.

    Args:
        path: the folder, or its file of ratings.

    Raises:
        DataError: a file is missing, empty or damaged, a line has too many or too few fields, or a
            user or film comes twice.
    """
    if path.is_dir() and _both_csv(path):
        ratings, movies = path / "ratings.csv", path / "movies.csv"
        return attach(read_csv(ratings, ","), movies, read_csv(movies, ","), "movieId")
    ratings = path
    if path.is_dir():
        ratings = next(path / name for name in RELEASES if (path / name).is_file())
    separator, *sides = RELEASES[ratings.name]
    frame = read_rows(ratings, read_lines(ratings), separator, RATING)
    for side in sides:
        file = ratings.parent / side.name
        if not file.is_file():
            continue
        columns = read_rows(file, read_lines(file, latin=True), side.separator, side.columns)
        if side.name == "users.dat":
            names = {str(code): name for code, name in enumerate(OCCUPATIONS)}
            columns = columns.with_columns(pl.col("occupation").replace(names))
        frame = attach(frame, file, columns, side.columns[0])
    return frame


def _both_csv(folder: Path) -> bool:
    return all((folder / name).is_file() for name in ("ratings.csv", "movies.csv"))
