"""What every floor may use: the logger, progress bars, random streams, plain data, optional imports."""

from __future__ import annotations

import functools
import hashlib
import importlib
import logging
import re
import sys
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from types import FunctionType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from recprune.errors import MissingExtra, ParameterError

__all__ = [
    "byte_count",
    "compiled",
    "fingerprint",
    "kernel_cache",
    "kernel_of",
    "logger",
    "missing_extra",
    "plain",
    "progress",
    "require",
    "stream",
]

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

_compiling = threading.RLock()

#: What is imported as if it were always there → the extra that brings it.
BROUGHT = {
    **dict.fromkeys(("torch", "sklearn", "scikit-learn", "scipy", "matplotlib"), "train"),
    **dict.fromkeys(("fastapi", "starlette", "uvicorn", "prometheus_client", "limits"), "serve"),
    **dict.fromkeys(("jwt", "cryptography"), "serve"),
    "lightgbm": "trees",
    "opacus": "privacy",
}

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


#: Bytes of each unit, by its name in capitals.
UNITS = {"": 1, "B": 1}
UNITS |= {f"{p}B": 1000 ** (i + 1) for i, p in enumerate("KMGT")}
UNITS |= {f"{p}IB": 1024 ** (i + 1) for i, p in enumerate("KMGT")}


def byte_count(size: object, owner: str, parameter: str = "bytes") -> int:
    """Return a size in bytes: a number, or a text with a unit, in any case of letters.

    Args:
        size: ``2_000_000``, ``"2 MB"`` (2 · 10⁶), ``"2 MiB"`` (2 · 2²⁰), ``"500kb"``.
        owner: whose parameter it is, for the error.
        parameter: its name.

    Raises:
        ParameterError: neither, or less than one byte.

    >>> byte_count("1.5 MB", "prune"), byte_count("2 KiB", "prune"), byte_count(300, "prune")
    (1500000, 2048, 300)
    """
    count = 0
    if isinstance(size, str):
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", size, re.IGNORECASE | re.ASCII)
        if found is not None and found[2].upper() in UNITS:
            count = int(Decimal(found[1]) * UNITS[found[2].upper()])
    elif isinstance(size, int | np.integer) and not isinstance(size, bool):
        count = int(size)
    if count < 1:
        constraint = "a number of bytes ≥ 1, or a text such as '2 MB' or '500 KiB'"
        raise ParameterError.of(parameter, owner, constraint, size)
    return count


def plain(value: Any) -> Any:
    """Return JSON's own types; a number that is not finite becomes null, which JSON has.

    >>> plain({"ci": (-np.inf, np.float32(0.5)), "n": np.arange(2)})
    {'ci': [None, 0.5], 'n': [0, 1]}
    """
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


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
        MissingExtra: the module is not installed, or its installation is broken.
    """
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as error:  # OSError: a library of the system that is not there
        raise _missing(module.split(".")[0], extra, error) from error


def missing_extra(error: ImportError) -> Exception:
    """Return the error that says which extra brings what was not found, or else ``error``.

    >>> print(missing_extra(ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn")))
    'torch' is needed here and not installed. Install it with: pip install 'recprune[train]'
    """
    package = (error.name or "").split(".")[0]
    return _missing(package, BROUGHT[package], error) if package in BROUGHT else error


def _missing(package: str, extra: str, error: ImportError | OSError) -> MissingExtra:
    absent = isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] == package
    state = "not installed" if absent else f"cannot be imported ({error})"
    return MissingExtra(
        f"{package!r} is needed here and {state}. Install it with: pip install 'recprune[{extra}]'"
    )


def compiled(function: F) -> F:
    """Return a function of arrays and numbers that numba compiles when it is first called.

    It holds no interpreter lock while it runs, so that threads may share the work. What was
    compiled is kept on disk where numba finds a folder that can be written, and else lasts as
    long as the process. It may call other compiled functions of its module.
    """
    found: Callable[..., Any] | None = None

    def kernel() -> Callable[..., Any]:
        nonlocal found
        if found is None:
            with _compiling:
                found = found or _kernel(function)
        return found

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        return (found or kernel())(*arguments)

    call.kernel = kernel  # type: ignore[attr-defined]
    return call  # type: ignore[return-value]


def kernel_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what numba makes of a :func:`compiled` function, one step nearer; loads numba.

    Raises:
        ImportError: there is no numba.
    """
    kernel: Callable[..., Any] = function.kernel()  # type: ignore[attr-defined]
    return kernel


def kernel_cache() -> str | None:
    """Return the folder in which compiled functions are kept; None = in none. Loads numba.

    Raises:
        ImportError: there is no numba.
    """
    return getattr(_kernel(kernel_cache).stats, "cache_path", None)  # type: ignore[attr-defined]


def _kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    import numba

    # numba takes no wrapper for a function: what is called gets its kernel's place.
    seen = function.__globals__
    others = {n: seen[n].kernel() for n in function.__code__.co_names if _is_compiled(seen.get(n))}
    if others:
        copy = FunctionType(function.__code__, {**seen, **others})
        function = functools.update_wrapper(copy, function)
        del copy.__wrapped__  # type: ignore[attr-defined]
    kernel: Callable[..., Any]
    try:
        kernel = numba.njit(function, nogil=True, error_model="numpy", cache=True)
    except RuntimeError:  # no folder for the cache
        kernel = numba.njit(function, nogil=True, error_model="numpy")
    return kernel


def _is_compiled(thing: object) -> bool:
    return callable(getattr(thing, "kernel", None))
