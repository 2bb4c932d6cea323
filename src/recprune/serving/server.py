"""The server: sockets, processes, TLS, and what a connection may take before it is a request."""

from __future__ import annotations

import asyncio
import functools
import os
import shutil
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.supervisors import Multiprocess

from recprune._support import logger
from recprune.errors import InputError
from recprune.serving.loading import load_sources
from recprune.serving.metrics import FOLDER
from recprune.serving.settings import ServeSettings, Tls

__all__ = ["serve"]

#: Bytes of headers, beyond which a connection ends whatever it meant to say.
MOST_HEADERS = 65_536
#: Seconds between two looks at the certificate.
RENEWAL = 5.0
#: One thread a worker: pools of threads collapse beside a noisy neighbour.
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def serve(settings: ServeSettings, ready: Callable[[str], None] = lambda url: None) -> None:
    """Serve until the process is told to end (SIGTERM, SIGINT); open requests are answered first.

    The parent loads the model once before there are workers: what is wrong with it is said at once,
    and the kernels are compiled once. A worker that ends is replaced; SIGHUP replaces all, one
    after the other.

    Args:
        settings: of the service.
        ready: is told the service's address once workers are about to start.

    Raises:
        RecpruneError: the model cannot be loaded, or a secret key is lacking.
        InputError: the address is taken, or the certificate cannot be read.
    """
    from recprune.serving.worker import make_app

    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    load_sources(settings.sources)
    address, tls = settings.address, settings.address.tls
    certificate = None if tls is None else Certificate(tls)
    if certificate is not None:
        certificate.context()
    folder = tempfile.mkdtemp(prefix="recprune-metrics-")
    os.environ[FOLDER] = folder
    try:
        make_app(settings)  # secrets and files of keys are looked at before there are workers
        config = uvicorn.Config(
            functools.partial(make_app, settings),
            factory=True,
            host=address.host,
            port=address.port,
            workers=address.workers,
            http=functools.partial(Patient, patience=address.header_seconds),  # type: ignore[arg-type]
            ws="none",
            lifespan="on",
            loop="auto",
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=address.connections,
            timeout_keep_alive=15,
            timeout_graceful_shutdown=30,
            ssl_context_factory=certificate,
        )
        listening = _bound(address.host, address.port)
        scheme = "http" if tls is None else "https"
        host, port = listening.getsockname()[:2]
        ready(f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}")
        Workers(config, [listening], Path(folder)).run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Workers(Multiprocess):
    """uvicorn's supervisor, which also takes a dead worker's live figures out of the metrics."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket], folder: Path) -> None:
        super().__init__(config, sockets)
        self._folder = folder

    def keep_subprocess_alive(self) -> None:
        """Replace workers that are gone."""
        before = {process.pid for process in self.processes}
        super().keep_subprocess_alive()
        for pid in before - {process.pid for process in self.processes}:
            for file in self._folder.glob(f"gauge_live*_{pid}.db"):
                file.unlink(missing_ok=True)


class Patient(HttpToolsProtocol):
    """A connection that ends if a request's headers take too long, or are too long.

    uvicorn waits for headers for ever, so that a few hundred clients who send a byte a minute
    would take up all connections.
    """

    def __init__(self, *args: Any, patience: float, **options: Any) -> None:
        super().__init__(*args, **options)
        self._patience = patience
        #: Since when headers are waited for; None = they are not.
        self._since: float | None = None
        self._look: asyncio.TimerHandle | None = None
        self._unfinished = 0

    def connection_made(self, transport: Any) -> None:
        """Begin to wait."""
        super().connection_made(transport)
        self._wait()
        # One timer a connection, which looks again later: one a request would cost more than it.
        self._look = self.loop.call_later(self._patience, self._looked)

    def data_received(self, data: bytes) -> None:
        """Take a part of a request."""
        if self._since is not None:
            self._unfinished += len(data)
            if self._unfinished > MOST_HEADERS:
                self.transport.close()
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        """Begin a request: the first, or the next of the same connection."""
        self._wait()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Go on to the body, which has a time of its own."""
        self._since = None
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        if self._look is not None:
            self._look.cancel()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self._since is None:
            self._since, self._unfinished = self.loop.time(), 0

    def _looked(self) -> None:
        left = self._patience
        if self._since is not None:
            left += self._since - self.loop.time()
        if left <= 0:
            self.transport.close()
        else:
            self._look = self.loop.call_later(left, self._looked)


class Certificate:
    """The TLS context of a worker, whose certificate is read again when its files change.

    Args:
        tls: the files.
    """

    def __init__(self, tls: Tls) -> None:
        self._tls = tls

    def __call__(self, config: uvicorn.Config, default: Callable[[], Any]) -> ssl.SSLContext:
        """Return the context of this worker, and begin to watch its files."""
        context = self.context()
        threading.Thread(target=self._watch, args=(context,), daemon=True).start()
        return context

    def context(self) -> ssl.SSLContext:
        """Return a new context: TLS 1.2 and above.

        Raises:
            InputError: the files cannot be read, or do not belong together.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
        try:
            context.load_cert_chain(self._tls.certificate, self._tls.key, password=_no_password)
        except (OSError, ssl.SSLError, ValueError) as error:
            raise InputError(
                f"The certificate {str(self._tls.certificate)!r} and the key "
                f"{str(self._tls.key)!r} cannot be used: {error}."
            ) from error
        return context

    def _watch(self, context: ssl.SSLContext) -> None:
        seen = self._mark()
        while True:
            threading.Event().wait(RENEWAL)
            mark = self._mark()
            if mark == seen:
                continue
            try:
                # Tried on a context of its own first: half of a renewal must not be served.
                self.context()
                context.load_cert_chain(self._tls.certificate, self._tls.key)
                seen = mark
            except (InputError, OSError) as error:
                logger.warning("The renewed certificate is not used yet: %s", error)

    def _mark(self) -> tuple[object, ...]:
        marks: list[object] = []
        for file in (self._tls.certificate, self._tls.key):
            try:
                about = os.stat(file)
            except OSError:
                marks.append(None)
                continue
            marks.append((about.st_ino, about.st_mtime_ns, about.st_size))
        return tuple(marks)


def _no_password() -> str:
    raise ValueError("the key is encrypted; give one that is not, readable for the service alone")


def _bound(host: str, port: int) -> socket.socket:
    """Return a socket that listens; workers share it, so that none is lost with one of them."""
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(place)
        listening.listen(2048)
    except OSError as error:
        raise InputError(
            f"Address {host!r}, port {port} cannot be listened on: {error.strerror or error}."
        ) from error
    listening.setblocking(False)
    listening.set_inheritable(True)
    return listening
