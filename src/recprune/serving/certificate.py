"""The certificate of a service, read again when it is renewed."""

from __future__ import annotations

import os
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

import uvicorn

from recprune._support import logger
from recprune.errors import InputError
from recprune.serving.settings import Tls

__all__ = ["Certificate"]


class Certificate:
    """The TLS context of a worker, whose certificate is read again when its files change.

    Args:
        tls: the files.
    """

    def __init__(self, tls: Tls) -> None:
        self._tls = tls
        self._newest: ssl.SSLContext | None = None

    def __call__(self, config: uvicorn.Config, default: Callable[[], Any]) -> ssl.SSLContext:
        """Return the context of this worker, and begin to watch its files."""
        seen, context = self._mark(), self.context()
        # Every handshake takes the newest: a context is replaced whole, never changed.
        context.sni_callback = self._take
        threading.Thread(target=self._watch, args=(seen,), daemon=True).start()
        return context

    def _take(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        if self._newest is not None:
            connection.context = self._newest

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

    def _watch(self, seen: tuple[object, ...]) -> None:
        while True:
            time.sleep(self._tls.renewal_seconds)
            mark = self._mark()
            if mark == seen:
                continue
            try:
                self._newest = self.context()
                logger.info("The renewed certificate is used from now on.")
            except InputError as error:
                # Half of a renewal, perhaps: the other half changes the files again.
                logger.warning("The renewed certificate is not used: %s", error)
            seen = mark

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
