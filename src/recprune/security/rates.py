"""How often one may ask: the strategies of ``limits`` on counters that all workers share."""

from __future__ import annotations

import functools
import itertools
import math
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from recprune._support import logger, require
from recprune.errors import MissingExtra, ParameterError
from recprune.security.callers import Caller
from recprune.security.policy import Limits

if TYPE_CHECKING:
    from limits import RateLimitItem
    from limits.strategies import SlidingWindowCounterRateLimiter

    from recprune.security.shared_counters import Spot

__all__ = ["Rates"]

#: What is counted of whom.
Asked = tuple[tuple[str, str], ...]

#: Seconds for which a store that was out of reach is not asked again.
SULK = 5.0
#: Callers and addresses whose place in the file is remembered.
REMEMBERED = 8192


class Rates:
    """Counts requests, and tells who has to wait.

    Every method returns 0 where the request may go on, or else the seconds to wait. What is
    refused is not counted, so that who keeps asking is let in again as soon as who does not.

    Args:
        limits: how often.
        file: of the counters that the workers of this machine share.
        store: a URI of a store that several machines share, such as ``redis://host``; while it is
            out of reach, the file is counted in. None = the file alone.

    Raises:
        ParameterError: a limit or a URI that ``limits`` does not understand.
        InputError: the file cannot be made.
        MissingExtra: ``limits``, or what the store needs, is not installed.
    """

    def __init__(self, limits: Limits, file: Path, store: str | None = None) -> None:
        require("limits", "serve")
        from limits.strategies import SlidingWindowCounterRateLimiter

        from recprune.security.shared_counters import SharedCounters

        self.counters = SharedCounters(file)
        self._near = SlidingWindowCounterRateLimiter(self.counters)
        self._far = None if store is None else _far(store)
        self._sulks_until = 0.0
        self._items = {name: _items(name, texts) for name, texts in vars(limits).items()}
        self._spots = functools.lru_cache(REMEMBERED)(self._spots_of)
        #: Whether counting takes microseconds, so that it needs no thread of its own.
        self.quick = self._far is None

    def failing(self, bucket: str) -> int:
        """Tell whether an address failed to authenticate too often; counts nothing."""
        far = self._reached("test", (("failures", bucket),))
        if far is not None:
            return far
        spots = self._spots("failures", bucket)
        full = self.counters.full(spots) if spots else -1
        return 0 if full < 0 else self._wait("failures", bucket, full)

    def failed(self, bucket: str) -> int:
        """Count a request from an address, and that it failed to authenticate."""
        return self._spent((("failures", bucket), ("address", bucket)))

    def nameless(self, bucket: str) -> int:
        """Count a request from an address that brought no credentials."""
        return self._spent((("address", bucket),))

    def request(self, bucket: str, caller: Caller) -> int:
        """Count a request of a caller from an address: by both, or by none if one has no room."""
        return self._spent((("address", bucket), ("caller", f"{caller.kind} {caller.id}")))

    def _spent(self, asked: Asked) -> int:
        far = self._reached("hit", asked)
        if far is not None:
            return far
        full = self.counters.take([spot for each in asked for spot in self._spots(*each)])
        if full < 0:
            return 0
        windows = [(name, who, at) for name, who in asked for at in range(len(self._items[name]))]
        return self._wait(*windows[full])

    def _wait(self, name: str, who: str, full: int) -> int:
        return _wait(self._near, self._items[name][full], name, who)

    def _spots_of(self, name: str, who: str) -> tuple[Spot, ...]:
        """Return where the file counts what :mod:`limits` would count under the same keys."""
        return tuple(
            self.counters.spot(i.key_for(name, who), i.amount, i.get_expiry())
            for i in self._items[name]
        )

    def _reached(self, what: str, asked: Asked) -> int | None:
        """Ask the store that machines share; None = there is none, or it is out of reach."""
        if self._far is None or time.monotonic() < self._sulks_until:
            return None
        from limits.errors import StorageError

        windows = [(item, name, who) for name, who in asked for item in self._items[name]]
        # All are looked at before one is counted: what one window refuses burdens no other.
        asks = [self._far.test, *([self._far.hit] if what == "hit" else [])]
        try:
            for ask, window in itertools.product(asks, windows):
                if not ask(*window):
                    return _wait(self._far, *window)
            return 0
        except StorageError as error:
            # The store's own words may hold its address and password.
            cause = type(error.storage_error).__name__
            logger.warning("The store of limits is out of reach (%s).", cause)
            self._sulks_until = time.monotonic() + SULK
            return None


def _wait(
    strategy: SlidingWindowCounterRateLimiter, item: RateLimitItem, name: str, who: str
) -> int:
    """Return the seconds until there may be room again."""
    until = strategy.get_window_stats(item, name, who).reset_time
    return max(1, math.ceil(until - time.time()))


def _items(name: str, texts: Sequence[str]) -> tuple[RateLimitItem, ...]:
    """Return limits, the shortest window first: a burst that is refused costs nothing of the rate."""
    from limits import parse

    constraint = "rates such as '600/minute' or '10 per 2 second'"
    try:
        items = [parse(text) for text in texts]
    except ValueError as error:
        raise ParameterError.of(name, "Limits", constraint, texts) from error
    if any(i.amount < 1 or i.get_expiry() < 1 for i in items):
        raise ParameterError.of(name, "Limits", constraint, texts)
    return tuple(sorted(items, key=lambda i: i.get_expiry()))


def _far(uri: str) -> SlidingWindowCounterRateLimiter:
    """Open a store that machines share; the URI may hold a password and is not shown."""
    from limits.errors import ConfigurationError
    from limits.storage import MemoryStorage, Storage, storage_from_string
    from limits.strategies import SlidingWindowCounterRateLimiter

    try:
        store = storage_from_string(uri, wrap_exceptions=True)
        if isinstance(store, MemoryStorage) or not isinstance(store, Storage):
            raise ConfigurationError("workers cannot share it")
        return SlidingWindowCounterRateLimiter(store)
    except (ConfigurationError, NotImplementedError, ValueError) as error:
        lacking = re.match(r"'([\w.]+)' prerequisite not available", str(error))
        if lacking is not None:
            raise MissingExtra(
                f"{lacking[1]!r} is needed for such a store of rates and not installed. Install it "
                f"with: pip install {lacking[1]}"
            ) from error
        shown = f"{uri.partition('://')[0]}://…"
        constraint = "a URI of a store that workers can share, such as 'redis://localhost:6379'"
        raise ParameterError.of("store", "Rates", constraint, shown) from error
