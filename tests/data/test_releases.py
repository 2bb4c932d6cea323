"""Public releases in their own layouts: MovieLens, RecBole, Criteo, Avazu, libsvm and libffm."""

from __future__ import annotations

import datetime
from pathlib import Path

import polars as pl
import pytest

from recprune.data import Dataset
from recprune.data.source_clicks import CRITEO
from recprune.data.source_movielens import GENRES
from recprune.data.sources import read_table
from recprune.errors import DataError

FILM = "Toy Story (1995)|01-Jan-1995||http://x|" + "|".join(["0"] * 3 + ["1"] * 2 + ["0"] * 14)
MOVIELENS = {
    "100k": {
        "u.data": "196\t242\t3\t881250949\n186\t302\t4\t891717742\n196\t302\t1\t881250950\n",
        "u.user": "196|49|M|writer|55105\n186|39|F|executive|00000\n",
        "u.item": f"242|{FILM}\n302|{FILM.replace('Toy Story', 'Misérables')}\n",
    },
    "1m": {
        "ratings.dat": "1::1193::5::978300760\n2::661::3::978302109\n1::914::3::978301968\n",
        "users.dat": "1::F::1::10::48067\n2::M::56::16::70072\n",
        "movies.dat": "1193::One Flew: Cuckoo::Drama\n661::Misérables, Les::Drama|Musical\n",
    },
    "csv": {
        "ratings.csv": "userId,movieId,rating,timestamp\n1,1,4.0,964982703\n1,3,4.5,964981247\n",
        "movies.csv": 'movieId,title,genres\n1,Toy Story,Comedy\n3,"Good, the Bad",Western\n',
        "links.csv": "movieId,imdbId\n1,0114709\n",
    },
}
RECBOLE = {
    "x.inter": "user_id:token\titem_id:token\trating:float\n1\t01\t4.5\n2\t02\t\n1\t03\t1\n",
    "x.user": "user_id:token\tage:float\n1\t24\n2\t31\n",
    "x.item": "item_id:token\ttitle:token_seq\tvec:float_seq\n01\tToy \"Story\tl'a\n02\tBabe\t0.1 0.2\n",
}


def lay_out(folder: Path, files: dict[str, str], encoding: str = "utf-8") -> Path:
    for name, text in files.items():
        (folder / name).write_bytes(text.encode(encoding))
    return folder


@pytest.mark.parametrize("encoding", ["utf-8", "latin1"])
def test_movielens_100k(tmp_path: Path, encoding: str) -> None:
    lay_out(tmp_path, MOVIELENS["100k"], encoding)
    frame, from_text = read_table(tmp_path)
    assert from_text
    assert frame["title"].to_list() == ["Toy Story (1995)", *["Misérables (1995)"] * 2]
    assert frame["zip_code"].to_list() == ["55105", "00000", "55105"]
    assert frame["Animation"].to_list() == ["1"] * 3
    assert frame["video_release_date"].null_count() == 3
    assert frame.columns[-len(GENRES) :] == list(GENRES)
    assert read_table(tmp_path / "u.data")[0].equals(frame)


def test_movielens_1m_names_its_occupations(tmp_path: Path) -> None:
    frame, _ = read_table(lay_out(tmp_path, MOVIELENS["1m"], "latin1"))
    assert frame["user_id"].to_list() == ["1", "2", "1"]
    assert frame["occupation"].to_list() == ["K-12 student", "self-employed", "K-12 student"]
    assert frame["title"].to_list() == ["One Flew: Cuckoo", "Misérables, Les", None]


def test_movielens_10m_has_no_users(tmp_path: Path) -> None:
    files = {k: v for k, v in MOVIELENS["1m"].items() if k != "users.dat"}
    frame, _ = read_table(lay_out(tmp_path, files))
    assert frame.columns == ["user_id", "item_id", "rating", "timestamp", "title", "genres"]


def test_movielens_csv(tmp_path: Path) -> None:
    frame, from_text = read_table(lay_out(tmp_path, MOVIELENS["csv"]))
    assert from_text
    assert frame.columns == ["userId", "movieId", "rating", "timestamp", "title", "genres"]
    assert frame["title"].to_list() == ["Toy Story", "Good, the Bad"]


@pytest.mark.parametrize(
    "release, name, text, message",
    [
        ("1m", "movies.dat", "1::a::b\n\n2::a::b::c\n", r"line 3: 4 fields .*'::', but 3 .*title"),
        ("1m", "ratings.dat", "1::2::3::4\n1::2\n", r"line 2: 2 fields .*fetch the file again"),
        ("1m", "users.dat", "", "is empty"),
        ("1m", "movies.dat", "1::a::b\n1::c::d\n", "item_id '1' twice.*Remove"),
        ("100k", "u.item", "1|2\n", r"line 1: 2 fields separated by '\|', but 24"),
        ("csv", "movies.csv", "id,title\n1,x\n", "must have a column 'movieId'.*Rename"),
        ("csv", "movies.csv", "movieId,rating\n1,x\n", "column 'rating' that the rows have too"),
    ],
)
def test_damaged_movielens(
    tmp_path: Path, release: str, name: str, text: str, message: str
) -> None:
    lay_out(tmp_path, {**MOVIELENS[release], name: text})
    with pytest.raises(DataError, match=message) as caught:
        read_table(tmp_path)
    assert name in str(caught.value)


@pytest.mark.parametrize("given", ["", "x.inter"])
def test_recbole(tmp_path: Path, given: str) -> None:
    frame, from_text = read_table(lay_out(tmp_path, RECBOLE) / given)
    assert not from_text
    assert frame.schema == {
        "user_id": pl.String,
        "item_id": pl.String,
        "rating": pl.Float64,
        "age": pl.Float64,
        "title": pl.String,
        "vec": pl.String,
    }
    assert frame["item_id"].to_list() == ["01", "02", "03"]
    assert frame["rating"].to_list() == [4.5, None, 1.0]
    assert frame["age"].to_list() == [24.0, 31.0, 24.0]
    assert frame["title"].to_list() == ['Toy "Story', "Babe", None]


def test_recbole_interactions_alone(tmp_path: Path) -> None:
    lay_out(tmp_path, {"x.inter": RECBOLE["x.inter"], "y.item": RECBOLE["x.item"]})
    assert read_table(tmp_path)[0].columns == ["user_id", "item_id", "rating"]


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("x.inter", "user_id:token\trating\n1\t2\n", "'rating' has no type.*Known types: token, "),
        (
            "x.inter",
            "user_id:token\tage:int\n1\t2\n",
            "'age' has the unknown type 'int'.*age:token",
        ),
        ("x.inter", "a:token\ta:token\n1\t2\n", "two columns named 'a'"),
        ("x.inter", "a:token\ty:float\n", "no rows"),
        (
            "x.inter",
            "\na:token\ty:float\n1\t2\nx\tno\n",
            "line 4: column 'y' is float.*'no'.*y:token",
        ),
        ("x.item", "item_id:token\tb:token\n1\t2\t3\n", "line 2: 3 fields"),
        ("x.item", "iid:token\tb:token\n1\t2\n", "neither its first column 'iid' nor 'item_id'"),
        ("y.inter", "a:token\n1\n", "has 2 .inter files: 'x.inter', 'y.inter'"),
    ],
)
def test_damaged_recbole(tmp_path: Path, name: str, text: str, message: str) -> None:
    lay_out(tmp_path, {**RECBOLE, name: text})
    with pytest.raises(DataError, match=message) as caught:
        read_table(tmp_path)
    assert name in str(caught.value)


def criteo(i: int) -> str:
    numbers = [str(i % 40 - 2), "", *[str(i * k % 50) for k in range(1, 12)]]
    return "\t".join(
        [str(i % 2), *numbers, *[f"{(i % 3) * k + 0xA0000000:08x}" for k in range(26)]]
    )


@pytest.mark.parametrize("name", ["train.txt", "day_0.tsv"])
def test_criteo_needs_no_header(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("".join(criteo(i) + "\n" for i in range(60)))
    frame, from_text = read_table(tmp_path / name)
    assert from_text
    assert frame.columns == list(CRITEO)
    assert len(frame) == 60
    assert frame["I2"].null_count() == 60
    data = Dataset.read(tmp_path / name, label="label")
    kinds = {f.name: f.kind for f in data.schema.fields}
    assert (kinds["I1"], kinds["C26"]) == ("numeric", "categorical")


def test_a_wider_row_of_criteo_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text(f"{criteo(1)}\n{criteo(2)}\tx\n")
    with pytest.raises(DataError, match=r"t\.tsv', line 2: 41 cells"):
        read_table(tmp_path / "t.tsv")


def test_a_header_of_forty_columns_stays_a_header(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("\t".join(CRITEO) + "\n" + criteo(1) + "\n")
    assert len(read_table(tmp_path / "t.tsv")[0]) == 1


AVAZU = "id,click,hour,C1,banner_pos,site_id,C14\n"


def test_hours_of_avazu_are_times(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        AVAZU + "".join(f"{i},{i % 2},141021{i % 24:02d},1005,0,a{i % 3},{i}\n" for i in range(60))
    )
    frame, from_text = read_table(tmp_path / "t.csv")
    assert not from_text
    assert frame["hour"][23] == datetime.datetime(2014, 10, 21, 23)
    assert frame["C1"].dtype == frame["C14"].dtype == pl.String
    data = Dataset.read(tmp_path / "t.csv", label="click", time="hour").split()
    assert data.split_by == "time"


def test_hours_of_another_form(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(AVAZU + "1,0,14102100,1,0,a,1\n2,0,14102199,1,0,a,1\n")
    with pytest.raises(DataError, match=r"t\.csv', row 2: hour '14102199' is not.*YYMMDDHH"):
        read_table(tmp_path / "t.csv")


@pytest.mark.parametrize("suffix", ["svm", "libsvm"])
def test_libsvm(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t.{suffix}"
    path.write_text("-1 10:0.5 2:1e1 # first\n\n# none\n+1 \n1 2:-.5\n")
    frame, from_text = read_table(path)
    assert not from_text
    assert frame.to_dict(as_series=False) == {
        "label": [0.0, 1.0, 1.0],
        "f2": [10.0, 0.0, -0.5],
        "f10": [0.5, 0.0, 0.0],
    }


@pytest.mark.parametrize("suffix", ["ffm", "libffm"])
def test_libffm(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t.{suffix}"
    path.write_text("1 0:3:1 10:77:0.5 2:01:1\n0 0:4:1 0:9:1\n1 line:5:1\n")
    frame, from_text = read_table(path)
    assert not from_text
    assert frame.to_dict(as_series=False) == {
        "label": [1.0, 0.0, 1.0],
        "field0": ["3", "4 9", None],
        "field2": ["01", None, None],
        "field10": ["77", None, None],
        "fieldline": [None, None, "5"],
    }


def test_libsvm_becomes_a_data_set(tmp_path: Path) -> None:
    path = tmp_path / "t.svm"
    path.write_text("".join(f"{1 - 2 * (i % 2)} 1:{i} {2 + i % 2}:1\n" for i in range(60)))
    data = Dataset.read(path, label="label")
    assert data.schema.names == ("f1", "f2", "f3")
    assert data.table is not None
    assert data.table.label.tolist() == [1.0, 0.0] * 30


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("t.svm", "1 1:2\nx 1:2\n", "line 2: the label must be a number.*Got 'x'"),
        ("t.svm", "1 1:2\n\n1 a:2\n", "line 3: a feature must be index:value. Got 'a:2'"),
        ("t.svm", "1 1:2 1:3\n", "line 1: index 1 comes twice"),
        ("t.svm", "1\n0\n", "no feature in any row"),
        ("t.svm", "# only\n", "no feature in any row"),
        ("t.svm", "1 " + " ".join(f"{i}:1" for i in range(10_001)), "10001 different .*libffm"),
        ("t.ffm", "1 1:2\n", "line 1: a feature must be field:index:value. Got '1:2'"),
        ("t.ffm", "1 1:2:x\n", "Got '1:2:x'"),
    ],
)
def test_damaged_sparse_files(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read_table(tmp_path / name)
    assert name in str(caught.value)
