"""What every floor may use: the logger, progress bars, random streams, optional imports."""

from __future__ import annotations

import functools
import hashlib
import importlib
import logging
import sys
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from recprune.errors import MissingExtra, ParameterError

__all__ = ["compiled", "fingerprint", "logger", "progress", "require", "stream"]

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

_compiling = threading.Lock()

#: Bars that are shown now.
_bars: list[str] = []

logger = logging.getLogger("recprune")
logger.addHandler(logging.NullHandler())


def stream(seed: int, *keys: int | str) -> np.random.Generator:
    """Return an independent random stream for ``(seed, keys)``: the same on every call.

    Streams are counted instead of shared, so that adding a consumer never moves another's draws.

    Raises:
        ParameterError: a negative seed.

    >>> int(stream(0, "split").integers(100)) == int(stream(0, "split").integers(100))
    True
    """
    if seed < 0:
        raise ParameterError.of("seed", "recprune", "an int ≥ 0", seed)
    words = [k if isinstance(k, int) else zlib.crc32(k.encode()) for k in keys]
    return np.random.default_rng([seed, *words])


def fingerprint(arrays: Iterable[NDArray[Any]]) -> str:
    """Return a hash of arrays, their shapes and types: equal arrays, equal text, on any machine.

    >>> fingerprint([np.arange(3, dtype=np.int32)])
    '8ae59610221a74744f940f4e341fc31b'
    """
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def progress(items: Iterable[T], text: str, total: int | None = None) -> Iterator[T]:
    """Yield ``items`` with a bar on stderr, on a terminal only; within another bar, with none."""
    if _bars or not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import track

    _bars.append(text)
    try:
        yield from track(
            items, description=text, total=total, console=Console(stderr=True), transient=True
        )
    finally:
        _bars.remove(text)


def require(module: str, extra: str) -> Any:
    """Import an optional dependency, or say which extra installs it.

    Raises:
        MissingExtra: the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(
            f"{module.split('.')[0]!r} is needed here and not installed. "
            f"Install it with: pip install 'recprune[{extra}]'"
        ) from error


def compiled(function: F) -> F:
    """Return a function of arrays and numbers that numba compiles when it is first called.

    It holds no interpreter lock while it runs, so that threads may share the work. What was
    compiled is kept on disk where numba finds a folder that can be written, and else lasts as
    long as the process.
    """
    kernel: Callable[..., Any] | None = None

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        nonlocal kernel
        if kernel is None:
            with _compiling:
                kernel = kernel or _kernel(function)
        return kernel(*arguments)

    return call  # type: ignore[return-value]


def _kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    import numba

    kernel: Callable[..., Any]
    try:
        kernel = numba.njit(function, nogil=True, error_model="numpy", cache=True)
    except RuntimeError:  # no folder for the cache
        kernel = numba.njit(function, nogil=True, error_model="numpy")
    return kernel
