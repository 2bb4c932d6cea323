"""Bodies: as long as they may be, as long as they may take, whatever the headers say of them."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import pytest

from recprune.security import Bounds, Policy

from .asking import RULES, Service, bearer

BODY = Policy(RULES, bounds=Bounds(body_bytes=1000, body_seconds=0.2, answer_seconds=0.2))


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ([(b"content-length", b"1001")], b"x"),
        ([(b"content-length", b"9" * 400)], b"x"),
        ([], b"x" * 1001),
        ([(b"content-length", b"1")], b"x" * 1001),
        ([(b"transfer-encoding", b"chunked")], itertools.repeat(b"x" * 100)),
    ],
)
def test_a_body_is_counted_as_it_comes(tmp_path: Path, headers: Any, body: Any) -> None:
    service = Service(tmp_path, BODY)
    given = [*headers, *bearer(service.token())]
    answer = service.ask("POST", "/v1/score", headers=given, body=body)
    assert (answer.status, answer.code) == (413, "too_large")
    assert service.app.asked == 0
    assert (
        service.ask("POST", "/v1/score", headers=bearer(service.token()), body=b"x" * 1000).status
        == 200
    )


@pytest.mark.parametrize("length", [b"-1", b"+5", b"1e3", b"", b"\xb2", b"0x10"])
def test_a_length_that_is_none_is_refused(tmp_path: Path, length: bytes) -> None:
    service = Service(tmp_path, BODY)
    given = [(b"content-length", length), *bearer(service.token())]
    assert service.ask("POST", "/v1/score", headers=given, body=b"x").code == "bad_length"


@pytest.mark.parametrize(
    "headers",
    [
        [(b"content-length", b"1"), (b"content-length", b"2")],
        [(b"content-length", b"1"), (b"transfer-encoding", b"chunked")],
    ],
)
def test_headers_that_contradict_each_other_are_refused(tmp_path: Path, headers: Any) -> None:
    service = Service(tmp_path, BODY)
    given = [*headers, *bearer(service.token())]
    assert service.ask("POST", "/v1/score", headers=given, body=b"x").code == "bad_length"


def test_a_body_that_stops_coming_is_waited_for_so_long(tmp_path: Path) -> None:
    service = Service(tmp_path, BODY)
    started = time.monotonic()
    answer = service.ask("POST", "/v1/score", headers=bearer(service.token()), body=[b"x", b"y"])
    assert (answer.status, answer.code) == (408, "too_slow")
    assert time.monotonic() - started < 20
    assert service.app.asked == 0


def test_nobody_without_a_key_gets_to_send_a_body(tmp_path: Path) -> None:
    service, taken = Service(tmp_path, BODY), []
    parts = (taken.append(i) or b"x" * 100_000 for i in itertools.count())
    answer = service.ask(
        "POST", "/v1/score", headers=[(b"transfer-encoding", b"chunked")], body=parts
    )
    assert (answer.status, answer.headers[b"connection"]) == (401, b"close")
    assert len(taken) <= 40, "what is taken of it, so that the answer is read, has a bound"
