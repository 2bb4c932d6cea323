"""A file as chunks, each encrypted for its place alone."""

from __future__ import annotations

from collections.abc import Iterator

from recprune.envelope.keys import TAG, aes

__all__ = ["Cipher", "count", "ranges", "sealed_size", "stored_as"]


def count(size: int, chunk: int) -> int:
    """Return how many chunks a file of this size has: an empty one has one, empty as well.

    >>> count(0, 4), count(4, 4), count(5, 4)
    (1, 1, 2)
    """
    return max(1, -(-size // chunk))


def ranges(size: int, chunk: int) -> Iterator[tuple[int, int]]:
    """Yield where chunks start and stop.

    >>> list(ranges(5, 4)), list(ranges(0, 4))
    ([(0, 4), (4, 5)], [(0, 0)])
    """
    for at in range(count(size, chunk)):
        yield at * chunk, min(size, (at + 1) * chunk)


def sealed_size(size: int, chunk: int) -> int:
    """Return the bytes of a file's ciphertext."""
    return size + TAG * count(size, chunk)


def stored_as(number: int) -> str:
    """Return the file that holds the ciphertext of a file, which its own name has no part in."""
    return f"{number}.sealed"


class Cipher:
    """Encrypts and decrypts the chunks of one folder; threads may share it.

    Args:
        key: the folder's data key. It encrypts one list of files once, so that no nonce is used
            twice.
        bound: what each chunk belongs to: the hash of that list.
    """

    def __init__(self, key: bytes, bound: bytes) -> None:
        self._aes, self._bound = aes(key), bound

    def encrypt(self, piece: bytes, file: int, at: int, last: bool) -> bytes:
        """Return the ciphertext of chunk ``at`` of a file."""
        sealed: bytes = self._aes.encrypt(_nonce(file, at, last), piece, self._bound)
        return sealed

    def decrypt(self, sealed: bytes, file: int, at: int, last: bool) -> bytes:
        """Return chunk ``at`` of a file.

        Raises:
            InvalidTag: these bytes were not encrypted for this place.
        """
        piece: bytes = self._aes.decrypt(_nonce(file, at, last), sealed, self._bound)
        return piece


def _nonce(file: int, at: int, last: bool) -> bytes:
    return file.to_bytes(4, "big") + at.to_bytes(7, "big") + bytes([last])
