"""What is kept of the users who were answered last: right, bounded, gone with their store."""

from __future__ import annotations

import gc

import numpy as np

from recprune.runtime.recent import OVERHEAD, Recent
from recprune.users import Users


def store(*ids: str) -> Users:
    return Users(ids, {})


def test_what_is_kept_comes_back_and_of_another_store_nothing() -> None:
    recent, one, two = Recent(10_000), store("a"), store("a")
    assert recent.get(one, 0) is None
    recent.put(one, 0, "found", 8)
    assert recent.get(one, 0) == "found"
    assert recent.get(one, 1) is None
    assert recent.get(two, 0) is None
    recent.put(two, 0, "other", 8)
    assert recent.get(two, 0) == "other"
    assert recent.get(one, 0) is None


def test_the_least_recently_asked_go_first() -> None:
    users, recent = store("a"), Recent(3 * (OVERHEAD + 100))
    for key in range(3):
        recent.put(users, key, key, 100)
    assert recent.get(users, 0) == 0
    recent.put(users, 3, 3, 100)
    assert [recent.get(users, key) for key in range(4)] == [0, None, 2, 3]
    assert recent.nbytes == recent.limit


def test_what_is_larger_than_all_room_is_not_kept() -> None:
    users, recent = store("a"), Recent(1000)
    recent.put(users, 0, 0, 100)
    recent.put(users, 1, 1, 1000)
    assert recent.get(users, 0) == 0
    assert recent.get(users, 1) is None


def test_it_goes_with_its_store() -> None:
    users, recent = store("a"), Recent(10_000)
    recent.put(users, 0, np.zeros(10), 80)
    assert recent.nbytes
    del users
    gc.collect()
    assert recent.nbytes == 0


def test_a_store_is_not_held() -> None:
    import weakref

    users, recent = store("a"), Recent(10_000)
    recent.put(users, 0, 0, 8)
    seen = weakref.ref(users)
    del users
    gc.collect()
    assert seen() is None
