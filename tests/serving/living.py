"""A shop on disk, and a service of its own processes that answers for it."""

from __future__ import annotations

import contextlib
import itertools
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from recprune.artifact import write_artifact
from recprune.folders import folder_written_whole
from recprune.security import KeyStore
from recprune.serving import ServeSettings
from tests.runtime.factory import Kind, Shop, random_shop

ROOT = Path(__file__).resolve().parents[2]
PEPPER, AUDIT_KEY = "p" * 32, "a" * 32
SECRETS = {"RECPRUNE_PEPPER_KEY": PEPPER, "RECPRUNE_AUDIT_KEY": AUDIT_KEY}
SMALL = Kind("DeepFM", 5, (7,), True)
#: Seconds for a service to start, the kernels' compilation included; and to end.
PATIENCE = 120.0
ADDRESSES = itertools.cycle(range(2, 255))
SAID = re.compile(r"serving on (https?)://(\S+):(\d+)")


@dataclass
class Place:
    """Folders of a service: the model, its users, and the service's state."""

    root: Path
    shop: Shop

    @property
    def model(self) -> Path:
        return self.root / "model"

    @property
    def users(self) -> Path:
        return self.root / "users.rp"

    @property
    def state(self) -> Path:
        return self.root / "state"

    def write(self, shop: Shop, extra: Mapping[str, str] | None = None) -> None:
        """Put another model in place of the one there, as ``recprune run`` does."""
        self.shop = shop
        with folder_written_whole(self.model) as folder:
            write_artifact(folder, shop.artifact, "0")
            for name, text in (extra or {}).items():
                (folder / name).write_text(text, "utf-8")

    def token(self, *scopes: str, expires: float | None = None) -> str:
        """Make an API key; without scopes, one that may recommend and score."""
        keys = KeyStore(self.state / "keys.json", PEPPER.encode())
        return keys.create("test", scopes or ("recommend", "score"), expires)[1]


def make_place(
    root: Path, shop: Shop | None = None, extra: Mapping[str, str] | None = None
) -> Place:
    """Write a shop into a folder; ``extra`` are files of the model's folder, name → text."""
    place = Place(root, shop or random_shop(SMALL, 3))
    root.mkdir(parents=True, exist_ok=True)
    place.write(place.shop, extra)
    place.shop.users.save(place.users)
    place.state.mkdir(mode=0o700, exist_ok=True)
    return place


@dataclass
class Living:
    """A service that runs.

    Args:
        place: its folders.
        process: the parent of its workers.
        url: without a slash at the end.
    """

    place: Place
    process: subprocess.Popen[str]
    url: str
    said: deque[str] = field(default_factory=lambda: deque(maxlen=500))

    @property
    def workers(self) -> list[int]:
        """Process ids of the workers, which uvicorn spawns beside a tracker of resources."""
        found = []
        for each in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                parent = int((each / "stat").read_text().rpartition(")")[2].split()[1])
                line = (each / "cmdline").read_bytes()
                if parent == self.process.pid and b"spawn_main" in line:
                    found.append(int(each.name))
        return sorted(found)

    def client(self, token: str | None = None, verify: Any = True, **options: Any) -> httpx.Client:
        """Return a client, with a key if one is given.

        Each has an address of its own, so that one test's failures are not held against another.
        """
        headers = {} if token is None else {"x-api-key": token}
        transport = httpx.HTTPTransport(verify=verify, local_address=f"127.9.9.{next(ADDRESSES)}")
        options = {"base_url": self.url, "timeout": 30, "transport": transport, **options}
        return httpx.Client(headers=headers, **options)


@contextlib.contextmanager
def living(
    place: Place,
    *options: str,
    users: bool = True,
    environment: Mapping[str, str] | None = None,
    program: Sequence[str] = (sys.executable, "-m", "recprune"),
    cwd: Path | None = None,
    settings: ServeSettings | None = None,
) -> Iterator[Living]:
    """Start ``recprune serve`` on a free port, wait until it is ready, and end it afterwards.

    Args:
        place: what is served.
        options: of the verb, beyond folders and port; one worker unless they say otherwise.
        users: whether stored users are served too.
        environment: variables beyond the two keys.
        program: what is run.
        cwd: where.
        settings: in place of options, for what the verb has no option for.
    """
    known = ["--users", str(place.users)] if users else []
    workers = [] if "--workers" in options else ["--workers", "1"]
    port = [] if "--port" in options else ["--port", "0"]
    folders = [str(place.model), *known, "--state", str(place.state)]
    command = [*program, "serve", *folders, *port, *workers, *options]
    if settings is not None:
        (place.root / "settings").write_bytes(pickle.dumps(settings))
        command = [sys.executable, "-m", "tests.serving.started", str(place.root / "settings")]
        cwd = ROOT
    process = subprocess.Popen(
        command,
        env={**os.environ, **SECRETS, **(environment or {})},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        cwd=cwd,
    )
    service = Living(place, process, "")
    reader = threading.Thread(target=_listen, args=(service,), daemon=True)
    reader.start()
    try:
        _wait_until_ready(service)
        yield service
    finally:
        _end(service)
        reader.join(5)


def _listen(service: Living) -> None:
    """Keep what it says: a full pipe would stop it."""
    assert service.process.stderr is not None
    for line in service.process.stderr:
        service.said.append(line.rstrip())
        if not service.url and (found := SAID.search(line)):
            service.url = f"{found[1]}://{found[2]}:{found[3]}"


def _wait_until_ready(service: Living) -> None:
    ends = time.monotonic() + PATIENCE
    while time.monotonic() < ends and service.process.poll() is None:
        if service.url:
            with contextlib.suppress(httpx.TransportError):
                # Workers load the model before they take requests.
                if httpx.get(f"{service.url}/health/live", verify=False).is_success:
                    return
        time.sleep(0.05)
    raise AssertionError("The service did not start:\n" + "\n".join(service.said))


def _end(service: Living) -> None:
    service.process.send_signal(signal.SIGTERM)
    try:
        service.process.wait(40)
    except subprocess.TimeoutExpired:
        os.killpg(service.process.pid, signal.SIGKILL)
        service.process.wait(10)
        raise
