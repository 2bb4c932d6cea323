"""Any bytes under any name that is read: a table or a DataError, never another exception."""

from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recprune.data.sources import BINARY, TEXT, TYPED, read_table
from recprune.errors import DataError

CRITEO = "\t".join(["1", *["7"] * 13, *["68fd1e64"] * 26])
#: Name → sound content, from which most of the bytes that are tried are made.
SOUND: dict[str, str] = {
    **dict.fromkeys((f"t{s}" for s in TEXT), f'a,y\n"1",0\n\n2,1\n{CRITEO}\n'),
    "avazu.csv": "id,click,hour,site_id\n1,0,14102100,a\n2,1,14102101,b\n",
    "criteo.tsv": f"{CRITEO}\n{CRITEO}\n",
    "t.jsonl": '{"a": 1, "y": 0}\n{"a": 2.5, "b": "x", "y": true}\n',
    "t.ndjson": '{"a": [1], "y": null}\n{"a": {"b": 1}}\n',
    **dict.fromkeys(("t.svm", "t.libsvm"), "-1 1:2 3:.5 # x\n+1 2:1e3\n"),
    **dict.fromkeys(("t.ffm", "t.libffm"), "1 0:3:1 1:4:0.5\n0 0:5:1\n"),
    "u.data": "1\t2\t3\t4\n5\t6\t7\t8\n",
    "ratings.dat": "1::2::3::4\n5::6::7::8\n",
    "t.inter": "user_id:token\tage:float\n1\t2.5\n2\t\n",
}
EXAMPLES = 20
FRAME = pl.DataFrame({"a": [1, 2], "b": ["x", None], "y": [0, 1]})


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return bytes(sink.getvalue())


def test_every_suffix_is_tried() -> None:
    assert {Path(name).suffix for name in SOUND} >= {*TEXT, *TYPED}


@st.composite
def damaged(draw: st.DrawFn, sound: bytes) -> bytes:
    """The sound bytes with a stretch of them replaced, or others altogether."""
    start, stop = sorted(draw(st.tuples(*[st.integers(0, len(sound))] * 2)))
    middle = draw(
        st.binary(max_size=12) | st.text('01-.:e\t|,"{}[] \n\r#é', max_size=8).map(str.encode)
    )
    return draw(st.sampled_from([sound[:start] + middle + sound[stop:], middle]))


def read(path: Path, content: bytes) -> None:
    """Refused with an error that names the file, or a table with rows."""
    path.write_bytes(content)
    message, shape = path.name, (1, 1)
    try:
        shape = read_table(path)[0].shape
    except DataError as error:
        message = str(error)
    assert path.name in message
    assert min(shape) > 0


@pytest.mark.parametrize("name", SOUND)
@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.data())
def test_text_gives_a_table_or_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("any")
    content = data.draw(damaged(SOUND[name].encode()))
    read(folder / name, content)
    if name in ("u.data", "ratings.dat", "t.inter"):
        return
    read(folder / f"{name}.gz", data.draw(damaged(gzip.compress(content))))
    read(folder / f"{name}.zst", data.draw(damaged(zstd(content))))
    read(folder / f"{name}.zst", zstd(content))


@pytest.mark.parametrize("suffix", BINARY)
@pytest.mark.parametrize("write", ["write_parquet", "write_ipc", "write_ipc_stream"])
@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.data())
def test_binary_gives_a_table_or_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, write: str, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("any") / f"t{suffix}"
    getattr(FRAME, write)(path)
    read(path, data.draw(damaged(path.read_bytes())))
