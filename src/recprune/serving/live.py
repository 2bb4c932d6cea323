"""The model in service, replaced by a new one while requests go on."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

from recprune._support import logger
from recprune.errors import RecpruneError
from recprune.serving.loading import Loaded, Signature, load_sources, signature
from recprune.serving.settings import Sources

__all__ = ["Live"]

#: Seconds between two looks at the folders.
INTERVAL = 0.5
#: How often a start loads folders that change meanwhile, and how long a change may take, in seconds.
TRIES, PAUSE = 5, 0.1


class Live:
    """Holds the model that answers; a request takes :attr:`loaded` once and keeps to it.

    A folder that was written anew is loaded on a thread beside, warmed up, and put in place whole.
    Where that fails, the former model goes on, and another try waits for the next change.

    Args:
        sources: the folders.
        loading: is told of each model before it is put in place, on a thread beside.
        changed: is told of each model that is put in place; it is called on the event loop.
        failed: is told of each that could not be.
    """

    def __init__(
        self,
        sources: Sources,
        loading: Callable[[Loaded], None] = lambda loaded: None,
        changed: Callable[[Loaded], None] = lambda loaded: None,
        failed: Callable[[str], None] = lambda why: None,
    ) -> None:
        self._sources, self._loading = sources, loading
        self._changed, self._failed = changed, failed
        self._seen: Signature | None = None
        self._lock = asyncio.Lock()
        #: The model that answers; None before the first was loaded.
        self.loaded: Loaded | None = None

    def start(self) -> None:
        """Load the first model, on this thread; again if a folder is replaced meanwhile.

        Raises:
            RecpruneError: it cannot be loaded, or tells nothing apart.
        """
        for _ in range(TRIES):
            self._seen = signature(self._sources)
            try:
                self._put(self._load())
                return
            except (RecpruneError, OSError):
                time.sleep(PAUSE)
                if signature(self._sources) == self._seen:
                    raise
        self._put(self._load())

    async def refresh(self) -> bool:
        """Load the folders again if one was written anew; return whether a model was put in place.

        While a folder is being replaced, it may be away for a moment, or hold files of two models
        whose hashes contradict each other: the next look finds it whole.
        """
        async with self._lock:
            seen = signature(self._sources)
            if seen == self._seen:
                return False
            before = time.monotonic()
            try:
                loaded = await asyncio.to_thread(self._load)
            except Exception as error:  # noqa: BLE001  a damaged folder may raise anything
                if signature(self._sources) == seen:
                    # Not caught in the middle of being written: it is so.
                    self._seen = seen
                    logger.warning("The new model is not served, the former one goes on: %s", error)
                    self._failed(type(error).__name__)
                return False
            self._seen = seen
            self._put(loaded)
            logger.info(
                "Model %s loaded in %.1f s", loaded.about.version, time.monotonic() - before
            )
            return True

    async def watch(self) -> None:
        """Look for a new model twice a second until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            with contextlib.suppress(OSError):
                await self.refresh()

    def _load(self) -> Loaded:
        loaded = load_sources(self._sources)
        self._loading(loaded)
        return loaded

    def _put(self, loaded: Loaded) -> None:
        self.loaded = loaded
        self._changed(loaded)
