"""deploy/nginx.conf as it stands, by Debian's nginx, in front of two services that share a state."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

from tests.serving.living import Living, Place, living, make_place

FILE = Path(__file__).resolve().parents[2] / "deploy" / "nginx.conf"

pytestmark = pytest.mark.slow


class Front:
    """nginx before two services.

    Args:
        port: where it speaks TLS.
        plain: where it does not.
        authority: of its certificate.
        services: the two behind it.
    """

    def __init__(
        self, port: int, plain: int, authority: trustme.CA, services: list[Living]
    ) -> None:
        self.port, self.plain, self.services = port, plain, services
        self.context = ssl.create_default_context()
        authority.configure_trust(self.context)

    def client(self, token: str | None, address: str = "127.0.0.1") -> httpx.Client:
        transport = httpx.HTTPTransport(verify=self.context, local_address=address)
        headers = {} if token is None else {"x-api-key": token}
        url = f"https://localhost:{self.port}"
        return httpx.Client(base_url=url, headers=headers, transport=transport, timeout=30)


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def adapted(folder: Path, ports: dict[str, int]) -> Path:
    """Return the file with ports and paths of a test; each of them has to be there."""
    text = FILE.read_text("utf-8")
    changes = {
        "listen 80;": f"listen 127.0.0.1:{ports['plain']};",
        "listen 443 ssl": f"listen 127.0.0.1:{ports['tls']} ssl",
        "127.0.0.1:8001": f"127.0.0.1:{ports['one']}",
        "127.0.0.1:8002": f"127.0.0.1:{ports['two']}",
        "/run/nginx.pid": f"{folder}/pid",
        "/var/log/nginx/error.log": f"{folder}/error.log",
        "/etc/recprune/tls": str(folder),
    }
    if os.geteuid():
        # Only root may change the user, and write where Debian keeps what passes through.
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        changes["user www-data;"] = ""
        paths = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
        changes["http {\n"] = "http {\n" + paths
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    file = folder / "nginx.conf"
    file.write_text(text, "utf-8")
    return file


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return make_place(tmp_path_factory.mktemp("behind"))


@pytest.fixture(scope="module")
def front(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("no nginx here: apt-get install nginx-light")
        pytest.skip("no nginx here: apt-get install nginx-light")
    folder = tmp_path_factory.mktemp("nginx")
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    certificate.cert_chain_pems[0].write_to_path(folder / "certificate.pem")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    ports = dict(zip(("plain", "tls", "one", "two"), free_ports(4), strict=True))
    options = ("--trust-proxy", "127.0.0.1")
    with (
        living(place, "--port", str(ports["one"]), *options) as one,
        living(place, "--port", str(ports["two"]), *options) as two,
    ):
        command = [program, "-p", str(folder), "-c", str(adapted(folder, ports))]
        # The first log is opened before the file is read, where only root may write.
        command += ["-e", str(folder / "error.log"), "-g", "daemon off;"]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            _wait(ports["tls"], process)
            yield Front(ports["tls"], ports["plain"], authority, [one, two])
        finally:
            process.terminate()
            process.wait(10)


def _wait(port: int, process: subprocess.Popen[str]) -> None:
    for _ in range(100):
        if process.poll() is not None:
            raise AssertionError(process.stderr.read() if process.stderr else "nginx ended")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("nginx does not listen")


def test_an_answer_passes_through_over_tls_and_says_so(front: Front, place: Place) -> None:
    with front.client(place.token("recommend")) as client:
        answer = client.post("/v1/recommend", json={"user": "2", "k": 5})
    assert len(answer.json()["items"]) == 5
    assert answer.headers["strict-transport-security"] == "max-age=31536000"
    assert answer.headers.get("server") == "nginx"


def test_plain_http_is_sent_to_tls(front: Front) -> None:
    answer = httpx.get(f"http://127.0.0.1:{front.plain}/v1/model")
    assert answer.status_code == 308
    assert answer.headers["location"].startswith("https://")


def test_the_pages_cookie_is_for_tls_alone(front: Front, place: Place) -> None:
    with front.client(None) as client:
        own = {"origin": f"https://localhost:{front.port}"}
        key = {"key": place.token("recommend")}
        cookie = client.post("/login", data=key, headers=own).headers["set-cookie"]
        assert cookie.startswith("__Host-recprune=")
        assert cookie.endswith("; Secure")
        assert client.get("/").status_code == 200


def test_the_clients_own_address_is_limited_whatever_it_claims(front: Front, place: Place) -> None:
    token = place.token("recommend")
    guess = token[:-6] + "AAAAAA"
    with front.client(guess, "127.0.0.21") as client:
        answers = [
            client.get("/v1/model", headers={"x-forwarded-for": f"192.0.2.{i}"}).status_code
            for i in range(30)
        ]
        assert answers[0] == 401
        assert answers[-1] == 429
        late = client.get(
            "/v1/model", headers={"x-api-key": token, "x-forwarded-for": "192.0.2.77"}
        )
        assert late.status_code == 429
    with front.client(token, "127.0.0.22") as other:
        # Had nginx's own address been counted, or the one that was claimed, this would wait too.
        assert other.get("/v1/model").status_code == 200
        claimed = {"x-forwarded-for": "127.0.0.21"}
        assert other.get("/v1/model", headers=claimed).status_code == 200


def test_a_long_body_is_refused_before_it_reaches_a_service(front: Front, place: Place) -> None:
    with front.client(place.token("recommend")) as client:
        before = requests_of(front, place)
        answer = client.post("/v1/recommend", content=b"x" * 1_100_000)
        assert answer.status_code == 413
        assert requests_of(front, place) == before


def requests_of(front: Front, place: Place) -> int:
    """Return how many recommendations the services were asked for."""
    total = 0.0
    for service in front.services:
        with service.client(place.token("admin")) as client:
            for line in client.get("/metrics").text.splitlines():
                if line.startswith("recprune_requests_total") and "/v1/recommend" in line:
                    total += float(line.rpartition(" ")[2])
    return int(total)


def test_metrics_are_not_for_the_world(front: Front, place: Place) -> None:
    with front.client(place.token("admin")) as client:
        assert client.get("/metrics").status_code == 404


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_tls_is_refused_by_nginx(front: Front, version: ssl.TLSVersion) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    with (
        socket.create_connection(("127.0.0.1", front.port), 5) as plain,
        pytest.raises(ssl.SSLError) as refused,
    ):
        context.wrap_socket(plain)
    # An alert that came from the other side; not this side's own reluctance.
    assert refused.value.reason == "TLSV1_ALERT_PROTOCOL_VERSION"


def test_a_service_that_is_killed_is_not_noticed(front: Front, place: Place) -> None:
    """The last test: one of the services is gone after it."""
    wrong: list[Any] = []
    stop = threading.Event()
    answered = 0

    def ask() -> None:
        nonlocal answered
        with front.client(place.token("recommend")) as client:
            # Within the limits of a key and of an address.
            while not stop.wait(0.02):
                try:
                    answer = client.post("/v1/recommend", json={"user": "2", "k": 3})
                    if answer.status_code != 200 or len(answer.json()["items"]) != 3:
                        wrong.append(answer.text)
                    answered += 1
                except httpx.HTTPError as error:
                    wrong.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    before = answered
    os.killpg(front.services[0].process.pid, signal.SIGKILL)
    time.sleep(2)
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert answered > before > 0
