"""Answers that are kept: who asks the same again is given the same again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["Kept", "KeptAnswers"]

#: Bytes of a request's body beyond which its answer is not kept: it hardly comes twice.
LONGEST = 2_000
#: Bytes of memory that an entry takes besides its request and its answer.
ENTRY = 300


class Kept(NamedTuple):
    """An answer, and of whom: whether each user who was asked for is known."""

    body: bytes
    known: tuple[bool, ...]


class KeptAnswers:
    """Answers by the bytes of their requests, the latest asked for.

    An answer holds only as long as what it was made from: another model, other users or other
    hidden items, and all are forgotten at once, before anything is looked up.

    Args:
        most: bytes that they may take, 0 = none is kept.
        made_from: tells what an answer would be made from now; compared by identity.

    >>> one, kept = object(), KeptAnswers(1000, lambda: (one,))
    >>> kept.get(b"who")
    >>> kept.keep(b"who", Kept(b"these", (True,)))
    >>> kept.get(b"who")
    Kept(body=b'these', known=(True,))
    """

    def __init__(self, most: int, made_from: Callable[[], tuple[object, ...]]) -> None:
        self._most, self._made_from = most, made_from
        self._source: tuple[object, ...] = ()
        self._answers: OrderedDict[bytes, Kept] = OrderedDict()
        self._size = 0

    def get(self, request: bytes) -> Kept | None:
        """Return the answer to a request, if it is kept and still holds."""
        source = self._made_from()
        if len(source) != len(self._source) or any(
            a is not b for a, b in zip(source, self._source, strict=True)
        ):
            self._answers.clear()
            self._size, self._source = 0, source
            return None
        found = self._answers.get(request)
        if found is not None:
            self._answers.move_to_end(request)
        return found

    def keep(self, request: bytes, answer: Kept) -> None:
        """Keep an answer that was made since the last :meth:`get`; the oldest give way."""
        size = len(request) + len(answer.body) + ENTRY
        if len(request) > LONGEST or size > self._most:
            return
        former = self._answers.pop(request, None)
        if former is not None:
            self._size -= len(request) + len(former.body) + ENTRY
        self._answers[request] = answer
        self._size += size
        while self._size > self._most:
            gone, old = self._answers.popitem(last=False)
            self._size -= len(gone) + len(old.body) + ENTRY
