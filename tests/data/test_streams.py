"""Any form, read batch by batch: the folder holds what reading at once gives."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from recprune.data import Dataset, ingest
from recprune.data.columns import ColumnStore
from recprune.data.frames import plain
from recprune.data.infer import typed
from recprune.data.sources import read_source
from recprune.errors import DataError

N = 300
FRAME = pl.DataFrame(
    {
        "user": [f"u{i % 17}" for i in range(N)],
        "colour": [("red", "blue", None)[i % 3] for i in range(N)],
        "count": [i * 7 % 50 for i in range(N)],
        "price": [i / 8 for i in range(N)],
        "y": [i % 2 for i in range(N)],
    }
)
CSV = FRAME.write_csv().encode()
JSON = FRAME.write_ndjson().encode()


def zstd(frame: pl.DataFrame, path: Path) -> None:
    frame.lazy().sink_csv(path, compression="zstd", check_extension=False)


def zstd_json(frame: pl.DataFrame, path: Path) -> None:
    frame.lazy().sink_ndjson(path, compression="zstd", check_extension=False)


WRITERS: dict[str, Callable[[Path], object]] = {
    "t.csv": lambda p: p.write_bytes(CSV),
    "t.csv.gz": lambda p: p.write_bytes(gzip.compress(CSV)),
    "t.csv.zst": lambda p: zstd(FRAME, p),
    "t.tsv": lambda p: FRAME.write_csv(p, separator="\t"),
    "t.jsonl": lambda p: p.write_bytes(JSON),
    "t.jsonl.gz": lambda p: p.write_bytes(gzip.compress(JSON)),
    "t.ndjson.zst": lambda p: zstd_json(FRAME, p),
    "t.parquet": FRAME.write_parquet,
    "t.arrow": FRAME.write_ipc,
    "t.feather": FRAME.write_ipc_stream,
}


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of a few rows, so that a small file has many."""
    monkeypatch.setattr("recprune.data.stream.BATCH", 7)


def at_once(path: Path, spelt: tuple[str, ...] = ()) -> pl.DataFrame:
    """What the folder must hold, told by the reader that reads all rows together."""
    read = read_source(path)
    frame = plain(read.frame)
    kept = {*spelt, *(n for n, kind in read.kinds.items() if kind == "categorical")}
    if read.from_text:
        frame = frame.with_columns(typed(frame[n]) for n in frame.columns if n not in kept)
    wide = {pl.Int8: pl.Int64, pl.Int32: pl.Int64, pl.Float32: pl.Float64, pl.Null: pl.Int64}
    return frame.with_columns(
        pl.col(n).cast(wide[type(t)]) for n, t in frame.schema.items() if type(t) in wide
    )


@pytest.mark.parametrize("name", WRITERS)
def test_every_form_gives_the_same_columns(tiny: None, tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    store = ColumnStore(ingest(tmp_path / name, tmp_path / "t.rp", user="user"))
    assert_frame_equal(store.frame(), FRAME)
    assert_frame_equal(store.frame(), at_once(tmp_path / name))


@pytest.mark.parametrize("name", WRITERS)
def test_folders_are_read_file_by_file(tiny: None, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "day"
    folder.mkdir()
    for part in ("1", "2"):
        WRITERS[name](folder / name.replace("t.", f"{part}.", 1))
    for source in (folder, folder / f"*{name[1:]}"):
        store = ColumnStore(ingest(source, tmp_path / "t.rp"))
        assert_frame_equal(store.frame(), pl.concat([FRAME, FRAME]))


def test_criteo_and_avazu(tiny: None, tmp_path: Path) -> None:
    criteo = ["\t".join([str(i % 2), *[str(i)] * 13, *[f"{i % 40 + 10}"] * 26]) for i in range(60)]
    (tmp_path / "train.txt").write_text("\n".join(criteo))
    avazu = [f"{i},{i % 2},141021{i % 24:02d},s{i % 4},{15700 + i % 30}" for i in range(60)]
    (tmp_path / "train.csv").write_text("\n".join(["id,click,hour,site_id,C14", *avazu]))
    for file, label, words in (("train.txt", "label", "C1"), ("train.csv", "click", "C14")):
        folder = ingest(tmp_path / file, tmp_path / "t.rp", label=label)
        store = ColumnStore(folder)
        assert_frame_equal(store.frame(), at_once(tmp_path / file))
        for data in (Dataset.read(folder), Dataset.read(tmp_path / file, label=label)):
            assert data.schema[words].kind == "categorical"
    assert store.columns["hour"].content == "time"


def test_an_hour_of_another_form_is_found_in_a_later_batch(tiny: None, tmp_path: Path) -> None:
    rows = [f"{i},{i % 2},141021{i % 24:02d},s" for i in range(60)]
    rows[41] = "41,1,2014-10-21,s"
    (tmp_path / "t.csv").write_text("\n".join(["id,click,hour,site_id", *rows]))
    with pytest.raises(DataError, match=r"row 42: hour '2014-10-21'"):
        ingest(tmp_path / "t.csv", tmp_path / "t.rp")


def test_tokens_are_categories_whatever_they_look_like(tmp_path: Path) -> None:
    inter = [f"{i % 40}\t{i % 30 + 100}\t{i % 2}.0" for i in range(300)]
    header = "user_id:token\titem_id:token\tliked:float"
    (tmp_path / "ml.inter").write_text("\n".join([header, *inter]))
    users = [f"{u}\t{u + 20}\t{u * 1.5}" for u in range(40)]
    (tmp_path / "ml.user").write_text("\n".join(["user_id:token\tage:token\tspent:float", *users]))
    roles = {"label": "liked", "user": "user_id", "item": "item_id"}
    folder = ingest(tmp_path / "ml.inter", tmp_path / "ml.rp", **roles)
    for data in (Dataset.read(folder), Dataset.read(tmp_path / "ml.inter", **roles)):
        assert data.schema["age"].kind == "categorical"
        assert data.schema["spent"].kind == "numeric"
    stated = Dataset.read(folder, schema={"fields": {"age": {"kind": "numeric"}}})
    assert stated.schema["age"].kind == "numeric"


def test_a_kind_that_the_schema_states_is_kept(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("zip,y\n" + "".join(f"{i}.0,{i % 2}\n" for i in range(90)))
    stated = {"fields": {"zip": {"kind": "categorical"}}}
    folder = ingest(tmp_path / "t.csv", tmp_path / "t.rp", label="y", schema=stated)
    assert ColumnStore(folder).series("zip", 0, 2).to_list() == ["0.0", "1.0"]
    rows = {"zip": [str(i // 2) for i in range(90)], "y": [i % 2 for i in range(90)]}
    pl.DataFrame(rows).write_csv(tmp_path / "t.csv")
    folder = ingest(tmp_path / "t.csv", tmp_path / "t.rp", label="y", schema=stated)
    assert Dataset.read(folder).schema["zip"].kind == "categorical"


VALUES = {
    "numbers": st.integers(-5, 5) | st.floats(-2, 2, width=16),
    "words": st.sampled_from(["a", "b", ""]),
    "truths": st.booleans(),
    "mixed": st.integers(0, 3) | st.sampled_from(["x", "0.50"]) | st.floats(0, 1, width=16),
    "large": st.integers(2**62, 2**66),
}


@st.composite
def objects(draw: st.DrawFn) -> list[dict[str, object]]:
    keys = draw(st.lists(st.sampled_from(list(VALUES)), min_size=1, unique=True))
    row = st.fixed_dictionaries({}, optional={k: st.none() | VALUES[k] for k in keys})
    return draw(st.lists(row, min_size=1, max_size=12))


@given(objects(), st.integers(1, 4))
def test_json_lines_have_the_types_of_the_whole_file(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, object]], batch: int
) -> None:
    path = tmp_path_factory.mktemp("json") / "t.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("recprune.data.stream.BATCH", batch)
        if not any(rows):
            with pytest.raises(DataError, match="no key in any line"):
                ingest(path, path.with_suffix(".rp"))
            return
        store = ColumnStore(ingest(path, path.with_suffix(".rp")))
    assert_frame_equal(store.frame(), at_once(path), check_column_order=False)


PEAK = """
import sys
from pathlib import Path
from recprune.data import ingest

ingest(sys.argv[1], sys.argv[2])
print(next(l.split()[1] for l in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in l))
"""


@pytest.mark.slow
@pytest.mark.parametrize("form", ["csv.gz", "csv.zst", "jsonl", "parquet", "folder"])
def test_memory_does_not_grow_with_the_rows(tmp_path: Path, form: str) -> None:
    peaks = []
    for rows in (1_000_000, 5_000_000):
        frame = pl.select(
            pl.int_range(rows).mod(1000).alias("a"),
            (pl.int_range(rows).mod(97) / 8).alias("b"),
            ("v" + pl.int_range(rows).mod(5000).cast(pl.String)).alias("c"),
        )
        path = tmp_path / f"{rows}.{form}"
        if form == "folder":
            path.mkdir()
            for i in range(0, rows, 500_000):
                frame[i : i + 500_000].write_parquet(path / f"{i:09d}.parquet")
        elif form == "csv.gz":
            frame.lazy().sink_csv(path, compression="gzip")
        elif form == "csv.zst":
            frame.lazy().sink_csv(path, compression="zstd")
        else:
            (frame.write_ndjson if form == "jsonl" else frame.write_parquet)(path)
        del frame
        done = subprocess.run(
            [sys.executable, "-c", PEAK, str(path), str(tmp_path / "t.rp")],
            capture_output=True,
            text=True,
            check=True,
        )
        peaks.append(int(done.stdout.split()[-1]))
    # Read whole, five times the rows take three times the memory and more; pages of the column that is
    # being finished count here too.
    assert peaks[1] < 2 * peaks[0], f"kB at 1 and at 5 million rows: {peaks}"
