"""The server: what is looked at before it starts, its socket, and its workers."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import uvicorn

from recprune._support import logger
from recprune.envelope.memory import MEMORY, in_memory
from recprune.errors import InputError
from recprune.serving.certificate import Certificate
from recprune.serving.checks import check
from recprune.serving.connections import Patient
from recprune.serving.loading import load_sources
from recprune.serving.metrics import FOLDER
from recprune.serving.settings import Address, ServeSettings
from recprune.serving.workers import Workers, worker

__all__ = ["serve"]

#: Seconds for a worker to start and to say that it lives: it loads a model, perhaps beside others.
START = 60
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
        InputError: the address is taken, the certificate cannot be read, or :func:`check` has
            found something.
        RunError: no worker could start.
    """
    from recprune.serving.worker import make_app

    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    check(settings, load_sources(settings.sources))
    address, tls = settings.address, settings.address.tls
    certificate = None if tls is None else Certificate(tls)
    if certificate is not None:
        certificate.context()
    with _shared_folder() as folder:
        make_app(settings)  # secrets and files of keys are looked at before there are workers
        app = functools.partial(worker, make_app, settings, logger.getEffectiveLevel())
        config = _config(address, app, certificate)
        listening = _bound(address.host, address.port)
        scheme = "http" if tls is None else "https"
        host, port = listening.getsockname()[:2]
        ready(f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}")
        Workers(config, [listening], folder).run()


def _config(address: Address, app: Any, certificate: Certificate | None) -> uvicorn.Config:
    protocol = functools.partial(
        Patient, patience=address.patience.header_seconds, most=address.connections
    )
    return uvicorn.Config(
        app,
        factory=True,
        workers=address.workers,
        http=protocol,  # type: ignore[arg-type]
        ws="none",
        lifespan="on",
        loop="recprune.serving.connections:make_loop",
        log_level="error",  # of warnings, strangers could write as many as they like
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=address.patience.idle_seconds,  # type: ignore[arg-type]
        timeout_graceful_shutdown=30,
        timeout_worker_healthcheck=START,
        ssl_context_factory=certificate,
    )


@contextlib.contextmanager
def _shared_folder() -> Iterator[Path]:
    """Yield a folder for the workers' counters: in memory, where the system has such folders.

    They are files that are written to as memory: on a disk that is full, that would end a worker.
    """
    made = in_memory() if MEMORY.is_mount() else tempfile.TemporaryDirectory("recprune")
    with made as folder:
        os.environ[FOLDER] = str(folder)
        try:
            yield Path(folder)
        finally:
            del os.environ[FOLDER]


def _bound(host: str, port: int) -> socket.socket:
    """Return a socket that listens; workers share it, so that none is lost with one of them."""
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with contextlib.ExitStack() as closing:
            listening = closing.enter_context(socket.socket(family, kind, protocol))
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(place)
            listening.listen(2048)
            closing.pop_all()
    except (OSError, UnicodeError) as error:  # the latter: what no name of a host can be
        why = getattr(error, "strerror", None) or error
        raise InputError(f"Address {host!r}, port {port} cannot be listened on: {why}.") from error
    listening.setblocking(False)
    listening.set_inheritable(True)
    return listening
