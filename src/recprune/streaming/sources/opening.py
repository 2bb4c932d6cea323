"""A source from the text that names it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, urlsplit

from recprune.errors import InputError, nearest
from recprune.streaming.sources.base import PATIENCE, Source
from recprune.streaming.sources.folder import Folder
from recprune.streaming.sources.kafka import Kafka
from recprune.streaming.sources.redis import RedisStreams

__all__ = ["open_source"]

KAFKA_PROPERTIES = "RECPRUNE_KAFKA_PROPERTIES"
REDIS_USER, REDIS_PASSWORD = "RECPRUNE_REDIS_USERNAME", "RECPRUNE_REDIS_PASSWORD"
#: What the address of a stream of Redis' may state of TLS, as redis-py calls it.
TLS = {"ca": "ssl_ca_certs", "cert": "ssl_certfile", "key": "ssl_keyfile"}


def open_source(text: str, patience: float = PATIENCE) -> Source:
    """Return the source that a text names.

    - ``events/`` or ``events/?numbered``: a folder of segments.
    - ``kafka://host:9092,other:9092/topic``, with ``?holes`` for compacted topics, and
      ``?properties=FILE`` (or the variable ``RECPRUNE_KAFKA_PROPERTIES``) for librdkafka's settings,
      a ``name=value`` a line, such as those of TLS and SASL.
    - ``redis://host:6379/0?stream=a&stream=b``, or ``rediss://`` for TLS, with ``ca=``, ``cert=`` and
      ``key=`` of files. User and password are those in ``RECPRUNE_REDIS_USERNAME`` and
      ``RECPRUNE_REDIS_PASSWORD``, or the password is in the file that
      ``RECPRUNE_REDIS_PASSWORD_FILE`` names.

    Args:
        text: see above; passwords are refused in it, since lists of processes show it.
        patience: seconds that a broker may be away.

    Raises:
        InputError: the text names nothing that can be opened; says why.
        RunError: the source is away for too long.
        MissingExtra: the client of the source is not installed.
    """
    scheme = text.partition("://")[0] if "://" in text else ""
    if scheme not in ("", "kafka", "redis", "rediss"):
        known = nearest(scheme, ["kafka", "redis", "rediss"])
        raise InputError(f"There is no source {scheme}://. Give a folder, or another.{known}")
    if not scheme:
        path, _, query = text.partition("?")
        return Folder(Path(path), bool(_options(query, path, "numbered")))
    if "@" in text:
        raise InputError(
            f"A source is named without a user and password: {_VARIABLES[scheme == 'kafka']}"
        )
    shown = text.partition("?")[0]
    try:
        url = urlsplit(text)
    except ValueError as error:
        raise InputError(f"Source {shown!r} cannot be read: {error}.") from error
    if not url.netloc:
        raise InputError(f"Source {shown!r} names no host.")
    if scheme == "kafka":
        return _kafka(url, shown, patience)
    return _redis(url, shown, patience)


_VARIABLES = (
    f"set the environment variables {REDIS_USER} and {REDIS_PASSWORD} (or {REDIS_PASSWORD}_FILE).",
    f"write them to a file of properties, and name it in {KAFKA_PROPERTIES}.",
)


def _kafka(url: SplitResult, text: str, patience: float) -> Kafka:
    topic = url.path.strip("/")
    if not topic or "/" in topic:
        raise InputError(f"Source {text!r} names no topic: kafka://host:9092/topic.")
    given = _options(url.query, text, "holes", "properties")
    file = (given.get("properties") or [os.environ.get(KAFKA_PROPERTIES, "")])[-1]
    properties = _properties(Path(file)) if file else {}
    return Kafka(url.netloc, topic, properties, bool(given.get("holes")), patience)


def _redis(url: SplitResult, text: str, patience: float) -> RedisStreams:
    given = _options(url.query, text, "stream", *TLS)
    if not given.get("stream"):
        raise InputError(f"Source {text!r} names no stream: redis://host:6379/0?stream=clicks.")
    settings: dict[str, object] = {TLS[k]: v[-1] for k, v in given.items() if k in TLS}
    password = os.environ.get(REDIS_PASSWORD)
    file = os.environ.get(f"{REDIS_PASSWORD}_FILE")
    if password is None and file:
        password = _text(Path(file), "Redis' password").rstrip("\r\n")
    if password:
        settings |= {"username": os.environ.get(REDIS_USER), "password": password}
    address = f"{url.scheme}://{url.netloc}{url.path}"
    return RedisStreams(address, given["stream"], settings, patience)


def _options(query: str, text: str, *known: str) -> dict[str, list[str]]:
    """Return what follows the question mark; a name by itself is switched on."""
    given = parse_qs(query, keep_blank_values=True)
    for name in given:
        if name not in known:
            raise InputError(f"Source {text!r} has no option {name!r}.{nearest(name, known)}")
    return given


def _properties(file: Path) -> Mapping[str, str]:
    out = {}
    for number, line in enumerate(_text(file, "Kafka's properties").splitlines(), 1):
        name, equals, value = line.partition("=")
        if line.strip() and not line.lstrip().startswith("#"):
            if not equals:
                raise InputError(f"File {str(file)!r}, line {number}: no name=value.")
            out[name.strip()] = value.strip()
    return out


def _text(file: Path, what: str) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{what} cannot be read from {str(file)!r}: {error}.") from error
