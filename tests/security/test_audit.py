"""The audit log: what nobody can change unseen, and what a crash or a full disk leaves."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recprune.errors import InputError, ParameterError
from recprune.security import Audit, AuditUnavailable, Caller, KeyStore, Verification
from recprune.security import audit as audit_module
from recprune.security import verify as verify_log
from recprune.security.audit_chain import head_of

from .asking import AUDIT_KEY, PEPPER

OTHER_KEY = bytes(32)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


@pytest.fixture
def audit(log: Path) -> Audit:
    return Audit(log, AUDIT_KEY)


def verify(log: Path, seal: str | None = None) -> Verification:
    return verify_log(log, AUDIT_KEY, seal)


def lines_of(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def write(audit: Audit, count: int) -> None:
    for i in range(count):
        audit.count("0123456789ab", f"route {i}", "200")
        assert audit.flush()


def test_what_is_written_is_sound_and_says_what_happened(audit: Audit, log: Path) -> None:
    audit.event("key.create", key="abc", scopes="score admin", old=None, text="ä\n\x1b" * 100)
    audit.count("abc", "POST /v1/score", "200")
    audit.count("abc", "POST /v1/score", "200")
    audit.count("def", "POST /v1/score", "403")
    assert audit.waiting == 2
    assert audit.flush()
    assert audit.flush(), "there is nothing to write, and nothing is written"
    first, second = lines_of(log)
    assert (first["seq"], first["kind"], first["key"]) == (1, "key.create", "abc")
    assert "old" not in first
    assert len(first["text"]) == 200
    assert second["uses"] == [
        ["abc", "POST /v1/score", "200", 2],
        ["def", "POST /v1/score", "403", 1],
    ]
    assert log.read_bytes().count(b"\n") == 2
    found = verify(log)
    assert (found.sound, found.lines, found.torn, found.bad) == (True, 2, 0, None)
    assert found.seal == second["mac"]
    assert (log.stat().st_mode & 0o777, head_of(log).stat().st_mode & 0o777) == (0o600, 0o600)


def test_another_key_verifies_nothing(audit: Audit, log: Path) -> None:
    write(audit, 3)
    found = verify_log(log, OTHER_KEY)
    assert (found.sound, found.bad) == (False, 1)


CHANGES = st.sampled_from(["flip", "delete", "insert", "double", "swap", "cut", "join", "forge"])


@given(change=CHANGES, at=st.integers(0, 9), place=st.floats(0, 1))
@settings(max_examples=120)
def test_no_line_is_changed_unseen(
    change: str, at: int, place: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    log = tmp_path_factory.mktemp("audit") / "audit.jsonl"
    write(Audit(log, AUDIT_KEY), 10)
    lines = log.read_bytes().splitlines(keepends=True)
    before, line = list(lines), lines[at]
    spot = int(place * (len(line) - 1))
    if change == "flip":
        lines[at] = line[:spot] + bytes([line[spot] ^ 1]) + line[spot + 1 :]
    elif change == "delete":
        del lines[at]
    elif change == "insert":
        lines.insert(at, b'{"seq":1,"kind":"nothing happened"}\n')
    elif change == "double":
        lines.insert(at, line)
    elif change == "swap":
        other = (at + 1 + spot) % 10
        lines[at], lines[other] = lines[other], lines[at]
    elif change == "cut":
        lines[at] = line[:spot]
    elif change == "join":
        lines[at] = line.rstrip(b"\n")
    else:
        elsewhere = log.with_name("other.jsonl")
        write(Audit(elsewhere, OTHER_KEY), 10)
        lines[at] = elsewhere.read_bytes().splitlines(keepends=True)[at]
    log.write_bytes(b"".join(lines))
    found = verify(log)
    same = b"".join(lines).rstrip(b"\n") == b"".join(before).rstrip(b"\n")
    assert found.sound == same
    first = next(
        (i for i, (a, b) in enumerate(zip(lines, before, strict=False), 1) if a != b), None
    )
    if not same and first is not None:
        assert found.bad == first or (found.bad is None and first == 10), "the end has no line"
    # Whoever writes on does not make it good again, and the place stays the same.
    Audit(log, AUDIT_KEY).event("test")
    after = verify(log)
    assert after.sound == found.sound
    if not same and first is not None:
        assert after.bad == first


def test_lines_missing_at_the_end_are_seen_now_and_later(audit: Audit, log: Path) -> None:
    write(audit, 5)
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:3]))
    found = verify(log)
    assert (found.sound, found.lines, found.why) == (False, 3, "it ends after line 3; there were 5")
    audit.event("test")
    audit.event("test")
    found = verify(log)
    assert (found.sound, found.bad) == (False, 4)
    assert "lines 4 to 5 had gone" in found.why
    log.unlink()
    audit.event("test")
    assert "lines 1 to 6 had gone" in verify(log).why


def test_a_head_that_is_missing_or_changed_is_no_proof(audit: Audit, log: Path) -> None:
    write(audit, 3)
    good = head_of(log).read_bytes()
    for content in (None, b"", b"{}", b"junk", good.replace(b'"seq": 3', b'"seq": 2'), b"[" * 4000):
        head_of(log).unlink(missing_ok=True)
        if content is not None:
            head_of(log).write_bytes(content)
        assert "head" in verify(log).why
    audit.event("test")
    assert "head file had gone" in verify(log).why, "writing on does not cure it"


def test_what_was_put_back_together_is_seen_by_a_seal_noted_elsewhere(
    audit: Audit, log: Path
) -> None:
    write(audit, 3)
    earlier = log.read_bytes(), head_of(log).read_bytes()
    write(audit, 2)
    noted = verify(log).seal
    assert verify(log, noted).sound
    log.write_bytes(earlier[0])
    head_of(log).write_bytes(earlier[1])
    assert verify(log).sound, "this is what cannot be seen without"
    assert "earlier state" in verify(log, noted).why


def test_both_files_moved_away_begin_a_new_log(audit: Audit, log: Path) -> None:
    write(audit, 3)
    log.rename(log.with_name("2026.jsonl"))
    head_of(log).rename(log.with_name("2026.jsonl.head"))
    audit.event("test")
    assert (verify(log).sound, verify(log).lines) == (True, 1)
    assert verify(log.with_name("2026.jsonl")).sound
    with pytest.raises(InputError, match="cannot be read"):
        verify(log.with_name("2025.jsonl"))


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9, 0.999])
def test_a_line_that_a_crash_left_half_is_closed_off_and_stays_visible(
    audit: Audit, log: Path, part: float
) -> None:
    write(audit, 3)
    before = head_of(log).read_bytes()
    audit.event("test", i=3)
    last = log.read_bytes().splitlines(keepends=True)[-1]
    kept = last[: max(1, int(part * (len(last) - 1)))]
    with log.open("r+b") as handle:  # as if the process had died in the middle of the write
        handle.truncate(log.stat().st_size - len(last) + len(kept))
    head_of(log).write_bytes(before)
    found = verify(log)
    assert (found.sound, found.lines, found.torn) == (True, 3, 1)
    audit.event("test", i=4)
    found = verify(log)
    assert (found.sound, found.torn) == (True, 1)
    assert kept in log.read_bytes()
    closing = [line for line in log.read_text().splitlines() if '"kind":"break"' in line]
    assert json.loads(closing[0])["bytes"] == len(kept) + 1
    # Nor can what was torn be turned into something else.
    content = log.read_bytes()
    at = content.index(kept + b"\n{") + len(kept) - 1
    log.write_bytes(content[:at] + b"~" + content[at + 1 :])
    assert (verify(log).sound, verify(log).bad) == (False, 4)


def test_a_line_that_lacks_its_end_alone_is_a_line(audit: Audit, log: Path) -> None:
    write(audit, 2)
    before = head_of(log).read_bytes()
    write(audit, 1)
    log.write_bytes(log.read_bytes()[:-1])
    head_of(log).write_bytes(before)
    assert (verify(log).sound, verify(log).lines, verify(log).torn) == (True, 3, 0)
    audit.event("test")
    assert (verify(log).sound, verify(log).lines, verify(log).torn) == (True, 4, 0)
    assert [line["seq"] for line in lines_of(log)] == [1, 2, 3, 4]


def test_a_head_that_a_crash_left_behind_is_no_reason_for_alarm(audit: Audit, log: Path) -> None:
    write(audit, 3)
    before = head_of(log).read_bytes()
    write(audit, 2)
    head_of(log).write_bytes(before)
    assert (verify(log).sound, verify(log).lines) == (True, 5)
    audit.event("test")
    assert (verify(log).sound, verify(log).lines, verify(log).torn) == (True, 6, 0)


def start(*words: object, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.security.writing", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)


def test_killing_writers_leaves_a_log_that_goes_on(log: Path) -> None:
    told = 0
    for round in range(6):
        writer = start("events", log, f"writer {round}", 10_000)
        assert writer.stdout is not None
        for _ in range(20 + round):
            writer.stdout.readline()
            told += 1
        writer.kill()
        told += len(writer.stdout.read().splitlines())
        writer.wait()
    Audit(log, AUDIT_KEY).event("after")
    found = verify(log)
    assert found.sound, found.why
    assert found.lines >= told + 1, "what was said to be on the disk is there"


def test_writers_at_once_make_one_chain(log: Path) -> None:
    writers = [start("events", log, f"writer {i}", 60) for i in range(3)]
    for writer in writers:
        writer.communicate(timeout=60)
    assert (verify(log).sound, verify(log).lines) == (True, 180)
    mine = [line["i"] for line in lines_of(log) if line["name"] == "writer 1"]
    assert mine == list(range(60))


def test_a_file_that_may_not_grow_loses_nothing_that_was_promised(log: Path) -> None:
    done = start("within", log, 20_000)
    out, _ = done.communicate(timeout=60)
    written, size, refused, waiting, failures, later, left = out.split()
    assert int(written) > 50
    assert int(size) <= 20_000
    assert (refused, int(waiting), int(failures)) == ("False", 4097, 2), "bounded, and counted"
    assert (later, left) == ("True", "0")
    found = verify(log)
    assert (found.sound, found.torn) == (True, 0), "what did not fit was taken back"
    lines = lines_of(log)
    assert [line["i"] for line in lines if line["kind"] == "test"] == list(range(int(written) + 1))
    uses = [use for line in lines if line["kind"] == "use" for use in line["uses"]]
    assert sum(use[-1] for use in uses) == 5001
    assert ["shop", "route 0", "200", 2] in uses
    assert ["others", "others", "others", 5000 - 4096] in uses


def fill(file: Path) -> None:
    with contextlib.suppress(OSError), file.open("wb", buffering=0) as out:
        while True:
            out.write(bytes(4096))


def write_until_refused(audit: Audit) -> None:
    for _ in range(100):  # what is left of the log's last page
        audit.event("test", text="x" * 200)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_a_full_disk_refuses_events_and_keeps_counts(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], check=False)
    if mounted.returncode:
        pytest.skip("this machine mounts nothing")
    try:
        audit = Audit(disk / "audit.jsonl", AUDIT_KEY)
        keys = KeyStore(tmp_path / "keys.json", PEPPER, audit)
        key, token = keys.create("shop", ["score"])
        filler = disk / "filler"
        fill(filler)
        with pytest.raises(AuditUnavailable):
            write_until_refused(audit)
        with pytest.raises(AuditUnavailable):
            keys.revoke(key.id)
        assert keys.verify(token).id == key.id, "what could not be recorded did not happen"
        audit.count("shop", "POST /v1/score", "200")
        assert not audit.flush()
        assert (audit.waiting, audit.failures) == (1, 3)
        filler.unlink()
        assert audit.flush()
        assert audit.waiting == 0
        found = verify_log(disk / "audit.jsonl", AUDIT_KEY)
        assert (found.sound, found.torn) == (True, 0)
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_disk_that_is_full_before_the_first_head_leaves_no_line(
    audit: Audit, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwrite = os.pwrite

    def full(handle: int, content: Any, offset: int) -> int:
        if Path(os.readlink(f"/proc/self/fd/{handle}")) == head_of(log):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return pwrite(handle, content, offset)

    audit.count("shop", "POST /v1/score", "200")
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(AuditUnavailable):
            audit.event("test")
        assert not audit.flush()
    audit.event("test")
    assert audit.flush()
    assert (verify(log).sound, verify(log).lines) == (True, 2), verify(log).why
    assert [line["kind"] for line in lines_of(log)] == ["test", "use"]


def test_a_lock_that_is_not_to_be_had_is_waited_for_so_long(
    audit: Audit, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(audit, 1)
    monkeypatch.setattr(audit_module, "PATIENCE", 0.1)
    with log.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        started = time.monotonic()
        with pytest.raises(AuditUnavailable) as caught:
            audit.event("test")
        assert time.monotonic() - started < 20
        assert (caught.value.status, caught.value.code) == (503, "audit_unavailable")
    audit.event("test")
    assert verify(log).sound


def test_an_identity_is_not_named_and_can_be_told_apart(audit: Audit) -> None:
    ann, bob = (audit.name(Caller(sub, frozenset(), "jwt")) for sub in ("ann@example.org", "bob"))
    assert "ann" not in ann
    assert ann != bob
    assert ann == audit.name(Caller("ann@example.org", frozenset({"score"}), "jwt"))
    assert audit.name(Caller("ann", frozenset(), "key")) == "ann"
    audit.name(Caller("\ud800", frozenset(), "jwt"))


def test_an_interval_that_is_none_is_an_error(log: Path) -> None:
    with pytest.raises(ParameterError, match="interval"):
        Audit(log, AUDIT_KEY, 0)
