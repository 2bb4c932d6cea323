"""TLS: which versions, a certificate that is renewed, and who does not speak it."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx
import pytest
import trustme

from recprune.errors import InputError
from recprune.serving import Address, Patience, ServeSettings, Sources, Tls
from recprune.serving.certificate import Certificate

from .living import Living, living, make_place
from .sockets import asking, left, replies

RENEWAL = 0.1


class Trusted(NamedTuple):
    """A service behind TLS, and who vouches for it."""

    service: Living
    authority: trustme.CA
    tls: Tls

    def context(self, *versions: ssl.TLSVersion) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.authority.configure_trust(context)
        if versions:
            # Versions that are too old for this system's own rules, too.
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version = context.maximum_version = versions[0]
        return context

    def serial(self) -> int:
        """Return the number of the certificate that it shows."""
        with self.connected(self.context()) as wire:
            told = wire.getpeercert()
        assert told is not None
        return int(str(told["serialNumber"]), 16)

    @contextlib.contextmanager
    def connected(self, context: ssl.SSLContext) -> Iterator[ssl.SSLSocket]:
        place = urlsplit(self.service.url)
        with (
            socket.create_connection((place.hostname, place.port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as wire,
        ):
            yield wire


def written(tls: Tls, issued: trustme.LeafCert, *, halves: str = "both") -> int:
    """Put a certificate, its key, or both where they are looked for; return its number."""
    chain = b"".join(pem.bytes() for pem in issued.cert_chain_pems)
    for file, content in ((tls.certificate, chain), (tls.key, issued.private_key_pem.bytes())):
        if halves in ("both", file.stem):
            partial = file.with_suffix(".new")
            partial.write_bytes(content)
            os.replace(partial, file)
    from cryptography.x509 import load_pem_x509_certificate

    return load_pem_x509_certificate(chain).serial_number


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trusted]:
    place = make_place(tmp_path_factory.mktemp("tls"))
    authority = trustme.CA()
    tls = Tls(place.root / "certificate.pem", place.root / "key.pem", RENEWAL)
    written(tls, authority.issue_cert("localhost", "127.0.0.1"))
    address = Address(port=0, workers=1, patience=Patience(1.0, 1.5), tls=tls)
    settings = ServeSettings(Sources(place.model, place.users), place.state, address)
    with living(place, settings=settings) as running:
        yield Trusted(running, authority, tls)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_present_versions_work(trusted: Trusted, version: ssl.TLSVersion) -> None:
    token = trusted.service.place.token()
    with trusted.service.client(token, verify=trusted.context(version)) as client:
        for _ in range(3):
            answer = client.post("/v1/recommend", json={"user": "2", "k": 3})
            assert len(answer.json()["items"]) == 3
            assert answer.headers["strict-transport-security"] == "max-age=31536000"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_former_versions_are_refused(trusted: Trusted, version: ssl.TLSVersion) -> None:
    context = trusted.context(version)
    with pytest.raises((ssl.SSLError, ConnectionResetError)), trusted.connected(context):
        pass


def test_a_connection_is_kept_and_one_that_is_idle_ends(trusted: Trusted) -> None:
    token = trusted.service.place.token()
    with trusted.connected(trusted.context()) as wire:
        for _ in range(3):
            wire.sendall(asking("/health/live", token, close=False))
            told = b""
            while not told.endswith(b"}"):
                told += wire.recv(4096)
            assert told.startswith(b"HTTP/1.1 200")
        before = time.monotonic()
        with contextlib.suppress(ssl.SSLError):
            assert left(wire) == b""
        assert 1.2 < time.monotonic() - before < 30


def test_who_speaks_plainly_is_told_nothing(trusted: Trusted) -> None:
    token = trusted.service.place.token()
    assert b"HTTP" not in replies(trusted.service, asking("/health/live", token))
    assert b"HTTP" not in replies(trusted.service, b"\0" * 5000)
    assert trusted.serial()


@pytest.mark.slow
def test_a_handshake_that_does_not_come_ends(trusted: Trusted) -> None:
    before = time.monotonic()
    assert replies(trusted.service, b"\x16\x03\x01", seconds=60) == b""
    assert time.monotonic() - before < 50
    assert trusted.serial()


def test_a_renewed_certificate_is_shown_without_a_new_start(trusted: Trusted) -> None:
    workers = trusted.service.workers
    for _ in range(2):
        former = trusted.serial()
        renewed = written(trusted.tls, trusted.authority.issue_cert("localhost", "127.0.0.1"))
        assert renewed != former
        ends = time.monotonic() + 10
        while trusted.serial() != renewed and time.monotonic() < ends:
            time.sleep(0.05)
        assert trusted.serial() == renewed
    assert trusted.service.workers == workers


@pytest.mark.parametrize("half", ["certificate", "key"])
def test_half_of_a_renewal_is_not_used(trusted: Trusted, half: str) -> None:
    former = trusted.serial()
    issued = trusted.authority.issue_cert("localhost", "127.0.0.1")
    renewed = written(trusted.tls, issued, halves=half)
    time.sleep(4 * RENEWAL)
    assert trusted.serial() == former
    other = {"certificate": "key", "key": "certificate"}[half]
    written(trusted.tls, issued, halves=other)
    time.sleep(6 * RENEWAL)
    assert trusted.serial() == renewed
    trusted.tls.certificate.write_bytes(b"nothing of the kind")
    time.sleep(4 * RENEWAL)
    assert trusted.serial() == renewed
    written(trusted.tls, issued)


def test_a_certificate_that_nobody_vouches_for_is_the_clients_matter(trusted: Trusted) -> None:
    with pytest.raises(httpx.ConnectError), trusted.service.client() as client:
        client.get("/health/live")


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    authority = trustme.CA()
    tls = Tls(tmp_path / "certificate.pem", tmp_path / "key.pem")
    with pytest.raises(InputError, match=r"certificate.*cannot be used"):
        Certificate(tls).context()
    written(tls, authority.issue_cert("localhost"))
    Certificate(tls).context()
    written(tls, authority.issue_cert("localhost"), halves="key")
    with pytest.raises(InputError, match="cannot be used"):
        Certificate(tls).context()
