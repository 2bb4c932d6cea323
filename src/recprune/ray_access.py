"""Which Ray this process may talk to: the address is stated, and whoever talks shows a token.

Whoever reaches a Ray cluster may run any code on it. So an instance of our own has a token that
nobody else knows, a cluster elsewhere is refused unless it asks for one, and no address is ever
taken from the environment or from what lies in a temporary folder.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recprune._support import require
from recprune.errors import ParameterError, RunError
from recprune.work import set_environment

__all__ = [
    "LOCAL",
    "MOST_PATH",
    "admitted",
    "authenticated",
    "check_address",
    "has_token",
    "is_loopback",
    "known",
    "loopback_alone",
    "new_token",
    "own_machine",
    "ray_module",
    "reach",
    "read_anew",
    "temporary_folder",
]

#: The address of an instance of our own.
LOCAL = "local"

#: Longest path of Ray's temporary folder: a socket's whole path may have 107 bytes, and Ray adds a
#: session's name and the socket's.
MOST_PATH = 36

#: Asks a cluster for its nodes without any token: 0 = it told them, 3 = it wanted one.
STRANGER = """
import sys
from ray._raylet import GcsClient
try:
    GcsClient(address=sys.argv[1]).get_all_node_info(timeout=10)
except Exception as error:
    sys.exit(3 if "InvalidAuthToken" in str(error) else str(error))
"""


def ray_module() -> Any:
    """Import Ray.

    Raises:
        MissingExtra: it is not installed.
    """
    # Of whoever imports it first: none of what runs here is told to anybody.
    with set_environment(RAY_USAGE_STATS_ENABLED="0", RAY_ADDRESS=None):
        return require("ray", "distributed")


def check_address(address: str | None, owner: str) -> None:
    """Refuse what is neither ``"local"`` nor ``"host:port"``.

    Raises:
        ParameterError: names the owner's ``address``.

    >>> check_address("auto", "Executor")
    Traceback (most recent call last):
    recprune.errors.ParameterError: The 'address' parameter of Executor must be 'local' (an instance
    of our own) or 'host:port' of a cluster that runs. Got 'auto' instead.
    """
    if address == LOCAL:
        return
    host, colon, port = str(address).rpartition(":")
    if not (colon and host and "/" not in host and port.isdecimal() and 0 < int(port) < 65536):
        wanted = "'local' (an instance of our own) or 'host:port' of a cluster that runs"
        raise ParameterError.of("address", owner, wanted, address)


def is_loopback(address: str) -> bool:
    """Tell whether an address is of this machine alone.

    >>> is_loopback("127.0.0.1:6379"), is_loopback("localhost:6379"), is_loopback("10.0.0.7:6379")
    (True, True, False)
    """
    host = address.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def reach(address: str) -> None:
    """Open a connection to a cluster's address, and close it.

    Raises:
        RunError: nobody listens there.
    """
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except OSError as error:
        raise RunError(
            f"No Ray cluster answers at {address!r}: {error.strerror or error}. Start one with "
            "'ray start --head', name the address that it prints, and see that its port is open."
        ) from error


def known(address: str) -> None:
    """Ask a cluster who it is, with our token if there is one: Ray itself tries for 20 seconds where
    it is refused, and does not say why.

    Raises:
        RunError: it refuses us.
    """
    raylet = require("ray._raylet", "distributed")
    try:
        raylet.GcsClient(address=address)
    except Exception as error:
        raise RunError(
            f"The Ray cluster at {address!r} refuses our token, or that we have none. Set "
            "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN to the cluster's own. Ray says: "
            f"{' '.join(str(error).split())[:200]}"
        ) from error


@contextmanager
def own_machine(address: str) -> Iterator[None]:
    """Let Ray reach a loopback address meanwhile: it takes the machine's other address for it, at
    which nobody listens where the cluster keeps to loopback."""
    services = require("ray._private.services", "distributed")
    other = f"{services.get_node_ip_address()}:{address.rpartition(':')[2]}"
    if is_loopback(address) and not _answers(other):
        with loopback_alone():
            yield
        return
    yield


def _answers(address: str) -> bool:
    try:
        reach(address)
    except RunError:
        return False
    return True


def has_token() -> bool:
    """Tell whether Ray would find a token: in RAY_AUTH_TOKEN, in the file that RAY_AUTH_TOKEN_PATH
    names, or in ~/.ray/auth_token."""
    stated = os.environ.get("RAY_AUTH_TOKEN_PATH")
    file = Path(stated) if stated else Path.home() / ".ray" / "auth_token"
    return bool(os.environ.get("RAY_AUTH_TOKEN")) or file.is_file()


@contextmanager
def authenticated(token: str | None = None) -> Iterator[None]:
    """Let Ray in this process take a token, where there is one; it keeps it until :func:`read_anew`.

    Args:
        token: of an instance of our own; None = the user's, if any and not switched off.
    """
    mode = os.environ.get("RAY_AUTH_MODE")
    values: dict[str, str | None] = {"RAY_AUTH_MODE": mode}
    if token is not None:
        values = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    elif mode is None and has_token():
        values = {"RAY_AUTH_MODE": "token"}
    with set_environment(**values):
        read_anew()
        yield


def read_anew() -> None:
    """Let Ray read mode and token from the environment again: it keeps what it found."""
    raylet = require("ray._raylet", "distributed")
    raylet.Config.initialize("")
    raylet.AuthenticationTokenLoader.instance().reset_cache()


def admitted(address: str) -> None:
    """Refuse a cluster beyond this machine that anybody may use.

    Raises:
        RunError: we have no token, or the cluster answers without one.
    """
    if is_loopback(address):
        return
    advice = (
        "Whoever reaches such a cluster runs any code on it. Start all its nodes with "
        "RAY_AUTH_MODE=token and one RAY_AUTH_TOKEN, and set both here."
    )
    if os.environ.get("RAY_AUTH_MODE", "token") != "token" or not has_token():
        raise RunError(f"Ray at {address!r} is not this machine, and no token is set. {advice}")
    without = {k: v for k, v in os.environ.items() if not k.startswith("RAY_AUTH_TOKEN")}
    asked = subprocess.run(  # nosec B603
        [sys.executable, "-c", STRANGER, address],
        env={**without, "RAY_AUTH_MODE": "disabled"},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if asked.returncode == 0:
        raise RunError(f"The Ray cluster at {address!r} asks nobody for a token. {advice}")
    if asked.returncode != 3:
        last = (asked.stderr.strip().splitlines() or ["no word"])[-1]
        raise RunError(f"Ray at {address!r} does not say whether it asks for a token: {last}")


@contextmanager
def loopback_alone() -> Iterator[None]:
    """Let what Ray starts meanwhile listen on this machine's loopback address and no other.

    Ray does so by itself where clusters are not supported (macOS, Windows); the switch is the same.
    """
    constants = require("ray._private.ray_constants", "distributed")
    name, before = constants.ENABLE_RAY_CLUSTERS_ENV_VAR, constants.ENABLE_RAY_CLUSTER
    constants.ENABLE_RAY_CLUSTER = False
    try:
        # Port 0 = any that is free.
        with set_environment(**{name: "0", "AUTOSCALER_METRIC_PORT": "0"}):
            yield
    finally:
        constants.ENABLE_RAY_CLUSTER = before


def new_token() -> str:
    """Return a token that nobody knows."""
    return secrets.token_hex(32)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make a folder for Ray's sockets and logs, with a short name, and remove it at the end.

    Raises:
        RunError: no temporary folder has a path that is short enough for sockets.
    """
    for place in dict.fromkeys((tempfile.gettempdir(), "/tmp")):  # nosec B108
        if len(os.fsencode(place)) + 12 <= MOST_PATH and os.access(place, os.W_OK):
            break
    else:
        raise RunError(
            f"Ray's sockets need a temporary folder whose path has at most {MOST_PATH - 12} bytes, "
            f"and that can be written; {tempfile.gettempdir()!r} is none. Set TMPDIR to one."
        )
    folder = Path(tempfile.mkdtemp(prefix="rp-", dir=place))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
