"""Recommendations over HTTP: FastAPI behind a gate, in processes of one thread each."""

from recprune.serving.server import serve
from recprune.serving.settings import (
    Address,
    Callers,
    Guards,
    Identity,
    KeyFiles,
    Most,
    Patience,
    ServeSettings,
    Sources,
    Tls,
)

__all__ = [
    "Address",
    "Callers",
    "Guards",
    "Identity",
    "KeyFiles",
    "Most",
    "Patience",
    "ServeSettings",
    "Sources",
    "Tls",
    "serve",
]
