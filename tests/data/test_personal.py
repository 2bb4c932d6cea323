"""Personal attributes: guessed by name and content, confirmed or denied by the schema."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from recprune.data import Dataset
from recprune.data.personal import sensitive_guess

N = 120
DRAWS = np.random.default_rng(11)
LABEL = [i % 2 for i in range(N)]
MAILS = [f"user{i}@mail{i % 3}.example.org" for i in range(N)]
STREETS = [f"{i} Oak Street" for i in range(1, N + 1)]


def some(*values: Any) -> list[Any]:
    return [values[i % len(values)] for i in range(N)]


GUESSED: dict[str, tuple[str, list[Any], str]] = {
    "ages": ("age", [18 + i % 60 for i in range(N)], "personal"),
    "ages in groups": ("ageGroup", some("18-29", "30-49", "50+"), "personal"),
    "unknown ages": ("AGE", some(-1, 20, 44), "personal"),
    "incomes": ("household_income", DRAWS.gamma(3, 9000, N).tolist(), "personal"),
    "births": ("birth_year", [1950 + i % 50 for i in range(N)], "personal"),
    "genders by name": ("Gender", some(0, 1), "personal"),
    "genders by content": ("c17", some("male", "female"), "genders"),
    "genders with holes": ("c17", some("Female", "Male", "", None, "Unknown"), "genders"),
    "genders in letters": ("c17", some("m", "f", "d"), "genders"),
    "spaced genders": ("c17", some(" Male", " Female"), "genders"),
    "marital states": ("c17", some("single", "married", "Divorced"), "marital states"),
    "religions": ("c17", some("Hindu", "Muslim", "none"), "religions"),
    "points": ("c17", [f"52.{1000 + i}, 13.{4000 + i}" for i in range(N)], "coordinates"),
    "latitudes": ("home_lat", DRAWS.uniform(47, 55, N).tolist(), "coordinates"),
    "longitudes": ("Longitude", DRAWS.uniform(-170, 170, N).tolist(), "coordinates"),
    "streets": ("c17", STREETS, "addresses"),
    "German streets": ("c17", [f"Lindenstraße {i}" for i in range(N)], "addresses"),
    "postcodes": ("zip", [f"{10000 + 37 * i}" for i in range(N)], "addresses"),
    "phones in bare digits": ("homePhone", [f"030{1000000 + i}" for i in range(N)], "phone"),
    "network addresses": ("c17", [f"192.168.{i % 7}.{i}" for i in range(N)], "network addresses"),
    "e-mails": ("c17", MAILS, "e-mail addresses"),
}
OTHERS: dict[str, tuple[str, list[Any]]] = {
    "an account's age in days": ("account_age", [i * 30 for i in range(N)]),
    "a page": ("page", [i % 60 for i in range(N)]),
    "sizes": ("c17", some("s", "m", "l")),
    "weekdays": ("c17", some("m", "t", "w", "f")),
    "one gender's department": ("c17", some("men", "shoes", "toys")),
    "packages": ("c17", some("single", "double", "family")),
    "a platform": ("platform", DRAWS.uniform(0, 1, N).tolist()),
    "a latitude out of range": ("lat", DRAWS.uniform(0, 500, N).tolist()),
    "a lateral shift in whole steps": ("lat", [float(i % 9) for i in range(N)]),
    "ratios": ("c17", [f"1.{1000 + i}" for i in range(N)]),
    "a web address": ("web_address", [f"shop{i}.example.org" for i in range(N)]),
    "kinds of places": ("zip_code", some("Urban", "Rural", "Suburban")),
    "versions": ("c17", [f"1.{i % 9}.{i}" for i in range(N)]),
    "titles": ("title", [f"{i} good roads to Rome" for i in range(N)]),
    "nothing": ("c17", [None] * N),
}


@pytest.mark.parametrize("case", GUESSED)
def test_personal_attributes_are_guessed(case: str) -> None:
    name, values, what = GUESSED[case]
    found = sensitive_guess(pl.Series(name, values, strict=False))
    assert found is not None
    assert what in found.message
    assert (found.column, found.severity) == (name, "warning")
    assert "sensitive = true or false" in found.action


@pytest.mark.parametrize("case", OTHERS)
def test_what_looks_like_one_is_none(case: str) -> None:
    name, values = OTHERS[case]
    assert sensitive_guess(pl.Series(name, values)) is None


def shop(**columns: Any) -> pl.DataFrame:
    return pl.DataFrame({**columns, "size": DRAWS.normal(size=N), "y": LABEL})


def guesses(data: Dataset) -> set[str]:
    return {f.column for f in data.findings if f.kind == "sensitive_guess"}


@pytest.mark.parametrize("stated", [None, True, False])
def test_the_schema_confirms_or_denies_and_ends_the_question(stated: bool | None) -> None:
    frame = shop(c17=some("male", "female"), age=[20 + i % 50 for i in range(N)])
    schema = None if stated is None else {"fields": {"c17": {"sensitive": stated}}}
    data = Dataset.from_frame(frame, label="y", schema=schema)
    assert guesses(data) == ({"c17", "age"} if stated is None else {"age"})
    assert set(data.sensitive) == ({"age"} if stated is False else {"c17", "age"})


def test_a_named_identifier_is_still_a_guess_to_confirm() -> None:
    frame = shop(contact=[*MAILS[: N // 2]] * 2)
    schema: dict[str, Any] = {"fields": {"contact": {"kind": "categorical"}}}
    assert guesses(Dataset.from_frame(frame, label="y", schema=schema)) == {"contact"}
    schema["fields"]["contact"]["sensitive"] = True
    assert guesses(Dataset.from_frame(frame, label="y", schema=schema)) == set()


def test_ids_in_their_role_are_no_guess() -> None:
    frame = shop(contact=[*MAILS[: N // 2]] * 2)
    assert guesses(Dataset.from_frame(frame, label="y", user="contact")) == set()
