"""Rows of a real PostgreSQL, which the tests start on a socket of its own."""

from __future__ import annotations

import datetime
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.cli import app
from recprune.cli._options import chosen_rows, read_data
from recprune.data import Dataset, ingest_sql
from recprune.data.columns import ColumnStore
from recprune.data.sql import read_query
from recprune.errors import DataError, InputError, ParameterError
from tests.postgres import PASSWORD, running_postgres


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with running_postgres() as url:
        yield url


def test_a_query_reads_as_the_same_frame_does(server: str) -> None:
    frame = pl.DataFrame(
        {
            "user_id": [f"u{i % 20}" for i in range(1, 201)],
            "price": [i * 0.25 for i in range(1, 201)],
            "colour": [("rot", "grün", None)[i % 3] for i in range(1, 201)],
            "at": [
                datetime.datetime(2024, 1, 1) + datetime.timedelta(hours=i) for i in range(1, 201)
            ],
            "clicked": [i % 2 == 0 for i in range(1, 201)],
        }
    )
    query = "SELECT user_id, price, colour, at AT TIME ZONE 'UTC' AS at, clicked FROM clicks"
    roles = {"label": "clicked", "user": "user_id", "time": "at"}
    read = Dataset.read_sql(query, server, **roles)
    given_ = Dataset.from_frame(frame, **roles)
    assert read.schema == given_.schema
    assert read.table is not None
    assert given_.table is not None
    assert read.table.frame.equals(given_.table.frame)
    assert (read.table.label == given_.table.label).all()
    assert read.split(seed=0).split_by == "time"


def test_a_column_with_a_time_zone_orders_the_rows(server: str) -> None:
    data = Dataset.read_sql("SELECT * FROM clicks", server, label="clicked", time="at")
    assert data.split(seed=0).split_by == "time"


@pytest.mark.parametrize(
    "value, kind, read",
    [
        ("12345678901234567::numeric", pl.Int64, 12345678901234567),
        ("2.50::numeric", pl.Float64, 2.5),
        ("'-Infinity'::numeric", pl.Float64, float("-inf")),
        ("NULL::numeric", pl.Int64, None),
        ("3::bigint", pl.Int64, 3),
        ("'a'::varchar", pl.String, "a"),
        ("'{}'::jsonb", pl.String, "{}"),
        ("true", pl.Boolean, True),
        ("date '2024-02-29'", pl.Date, datetime.date(2024, 2, 29)),
    ],
)
def test_types(server: str, value: str, kind: type[pl.DataType], read: object) -> None:
    frame = read_query(f"SELECT {value} AS x", server)
    assert frame.schema == {"x": kind}
    assert frame["x"].to_list() == [read]


@pytest.mark.parametrize(
    "query, says",
    [
        ("SELECT * FROM nowhere", 'relation "nowhere" does not exist'),
        ("SELECT 1; SELECT 2", "must be one SELECT"),
        ("EXPLAIN SELECT 1", "must be one SELECT"),
        ("SELECT 1 AS a, 2 AS a", "two columns of one name"),
        ("SELECT 1 WHERE false", "no rows"),
        ("SELECT", "no rows"),
        ("SELECT gen_random_uuid() AS who", "'who' .* who::text"),
        ("SELECT interval '1 day' AS age", "interval"),
        ("SELECT 1 / (i - 5000) FROM generate_series(1, 10000) i", "division by zero"),
        ("SET search_path TO public", "no rows"),
    ],
)
def test_what_a_query_may_not_do(server: str, query: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        read_query(query, server)


@pytest.mark.parametrize(
    "query", ["DELETE FROM clicks RETURNING *", "DROP TABLE clicks", "SELECT nextval('counter')"]
)
def test_nothing_is_written(server: str, query: str) -> None:
    with pytest.raises(DataError, match="in a read-only transaction"):
        read_query(query, server)
    assert read_query("SELECT count(*) AS n FROM clicks", server)["n"].to_list() == [200]


LOST = (
    "SELECT i % 2 AS y, repeat('x', 100) AS word, "
    "CASE WHEN i = 50000 THEN pg_terminate_backend(pg_backend_pid()) END AS gone "
    "FROM generate_series(1, 100000) AS i"
)


def test_a_database_lost_half_way(server: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"lost while the query ran: FATAL.*None of its rows"):
        Dataset.read_sql(LOST, server, label="y")
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-m", "recprune", "run", "--sql", LOST, "--label", "y", "-o", str(out)],
        capture_output=True,
        text=True,
        env={**os.environ, "RECPRUNE_SQL_URL": server},
        timeout=300,
    )
    assert done.returncode == 2
    assert "lost while the query ran" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_ingest_asks_once_and_keeps_what_came(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows of a volatile query differ each time; its two passes see the same ones."""
    monkeypatch.setattr("recprune.data.stream.BATCH", 7)
    roles = {"label": "clicked", "user": "user_id", "time": "at"}
    query = (
        "SELECT user_id, price, colour, at AT TIME ZONE 'UTC' AS at, clicked, random() AS draw "
        "FROM clicks ORDER BY random()"
    )
    store = ColumnStore(ingest_sql(query, server, tmp_path / "t.rp", **roles))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t.rp"]
    assert not list((tmp_path / "t.rp").glob("rows*"))
    assert store.roles == roles
    direct = read_query(query, server).sort("at")
    stored = store.frame().sort("at")
    assert stored.drop("draw").equals(direct.drop("draw"))
    assert stored["draw"].n_unique() == 200
    assert Dataset.read(tmp_path / "t.rp").schema.names


def test_ingest_of_a_database_lost_half_way(server: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"lost while the query ran.*None of its rows.*Nothing was"):
        ingest_sql(LOST, server, tmp_path / "t.rp")
    assert not list(tmp_path.iterdir())


def test_ingest_on_a_disk_that_fills(server: str, tmp_path: Path) -> None:
    def few_bytes() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    query = "SELECT md5(i::text) AS word FROM generate_series(1, 5000) AS i"
    out = str(tmp_path / "t.rp")
    done = subprocess.run(
        [sys.executable, "-m", "recprune", "ingest", "--sql", query, "-o", out],
        capture_output=True,
        text=True,
        env={**os.environ, "RECPRUNE_SQL_URL": server},
        timeout=300,
        preexec_fn=few_bytes,
    )
    assert done.returncode == 2
    assert f"Output {out!r} cannot be written: File too large" in done.stderr
    assert not list(tmp_path.iterdir())


def test_ingest_by_the_program(
    server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECPRUNE_SQL_URL", server)
    verb = ["ingest", "--sql", "SELECT * FROM clicks", "--user", "user_id", "--json"]
    (tmp_path / "erased").write_text("u7\n")
    options = ["-o", str(tmp_path / "t.rp"), "--erased", str(tmp_path / "erased"), "--drop", "at"]
    assert app([*verb, *options], standalone_mode=False) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["rows"] == 190
    assert [c["name"] for c in said["columns"]] == ["user_id", "price", "colour", "clicked"]
    with pytest.raises(InputError, match="--on-bad-rows goes with a CSV"):
        app([*verb, *options, "--on-bad-rows", "skip"], standalone_mode=False)
    for query, says in (("SELECT 1 AS x WHERE false", "no rows"), ("DROP TABLE x", "failed")):
        with pytest.raises(DataError, match=says):
            ingest_sql(query, server, tmp_path / "u.rp")


@pytest.mark.parametrize(
    "change",
    [
        lambda url: url.replace("owner:", "other:"),
        lambda url: url.replace("/postgres?", "/nowhere?"),
        lambda url: url + "/nowhere",
        lambda url: url + "&nosuch=1",
        lambda url: url + "&port=99999",
        lambda url: url.replace(quote(PASSWORD, safe=""), PASSWORD),
        lambda url: url.replace("owner:", "").replace("@/", "/") + f"&password={PASSWORD}",
        lambda url: url.replace("postgresql", "mysql"),
        lambda url: f"user=owner password={PASSWORD}",
        lambda url: "",
    ],
)
def test_no_error_holds_the_password(server: str, change) -> None:
    with pytest.raises((DataError, ParameterError)) as caught:
        read_query("SELECT 1 AS x", change(server))
    for text in (str(caught.value), repr(caught.value)):
        assert PASSWORD not in text
        assert quote(PASSWORD, safe="") not in text
        assert PASSWORD[4:20] not in text
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@given(st.text(min_size=4, max_size=12).filter(lambda t: "postgresql://" not in t))
def test_no_password_comes_back(password: str) -> None:
    """A password that was typed into the URL as it is: no piece of it is taken for a host."""
    pytest.importorskip("adbc_driver_postgresql", reason="the extra sql is not installed")
    piece = f"ZQ{password}QZ"
    with pytest.raises((DataError, ParameterError)) as caught:
        read_query("SELECT 1", f"postgresql://owner:{piece}@/x?host=/nowhere")
    assert "ZQ" not in str(caught.value)
    assert "QZ" not in str(caught.value)


def test_a_blank_query() -> None:
    with pytest.raises(ParameterError, match="'query'"):
        read_query(" \n", "postgresql://owner@host/x")


def test_the_verbs_take_a_query(
    server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RECPRUNE_SQL_URL", raising=False)
    held = tmp_path / "url"
    held.write_text(server + "\n")
    query = ["--sql", "SELECT colour, price, at, clicked FROM clicks"]
    small = ["--set", "epochs=1", "--set", "hidden=[4]", "--set", "dim=2"]
    model = str(tmp_path / "model")
    train = ["train", *query, "--label", "clicked", "-o", model, *small, "--json"]
    assert app([*train, "--sql-url-file", str(held)], standalone_mode=False) == 0
    fields = set(json.loads(capsys.readouterr().out)["fields"])
    assert fields == {"colour", "price", "at.hour", "at.weekday", "at.age"}
    monkeypatch.setenv("RECPRUNE_SQL_URL", server)
    assert app(["check", *query, "--label", "clicked", "--json"], standalone_mode=False) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 200
    pruned = ["--keep", "neurons=0.5", "--dry-run"]
    for verb in (["rank", model], ["evaluate", model], ["compare", model, model], ["prune", model]):
        options = pruned if verb[0] == "prune" else []
        assert app([*verb, *query, *options, "--json"], standalone_mode=False) in (0, 3)
        assert json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    "table, sql, url_file, says",
    [
        (None, None, None, "Name a table, or a query with --sql"),
        ("rows.csv", "SELECT 1", None, "Leave one out"),
        ("rows.csv", None, "url", "goes with --sql"),
        (None, "SELECT 1", None, "RECPRUNE_SQL_URL"),
        (None, "SELECT 1", "nowhere", "'nowhere' of --sql-url-file"),
        (None, "SELECT 1", os.devnull, "is empty"),
    ],
)
def test_options_that_do_not_fit(
    table: str | None,
    sql: str | None,
    url_file: str | None,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RECPRUNE_SQL_URL", raising=False)
    tables = None if table is None else Path(table)
    file = None if url_file is None else Path(url_file)
    with pytest.raises(InputError, match=says):
        read_data(chosen_rows(tables, sql, file, "error")[0], "y", {}, None, None)
