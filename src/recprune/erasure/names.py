"""Who is forgotten: a user's id in its spellings, the pseudonyms, and where each may be looked for.

An id such as ``12``, ``ann`` or ``banana`` is also an item's id, an age, a word. A *telling* name is
one that means nobody else wherever it stands: a pseudonym, a text of at least six characters of which
some are letters and some are not, or a number of at least nine digits. It is looked for everywhere,
within texts as a whole word, but in columns of user ids as the whole value: there ``ann@example.org``
is not ``mary.ann@example.org``. Any other name is looked for in such columns alone, unless it is said
to be telling, too.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import quote

import polars as pl

from recprune.crypto import Pseudonymiser, is_pseudonym
from recprune.data.people import USER_COLUMNS, id_texts_of
from recprune.errors import InputError

__all__ = ["Names", "is_telling"]

#: Characters and digits from which a name is telling.
CHARACTERS, DIGITS = 6, 9
NUMBER = re.compile(r"[-+]?\d+(\.\d+)?")
ERASED = "(erased)"
COLUMNS = frozenset(USER_COLUMNS)


@dataclass(frozen=True)
class Names:
    """What one user may be called.

    Args:
        ids: the raw id in its spellings.
        pseudonyms: of it, one a key.
        keys: fingerprints of these keys.
        columns: further columns, beside each folder's user column, that hold ids of users.
        everywhere: whether the id is telling in any case.

    >>> names = Names.of(" 7.0 ")
    >>> sorted(names.ids), names.telling
    (['7', '7.0'], frozenset())
    """

    ids: frozenset[str]
    pseudonyms: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()
    columns: frozenset[str] = COLUMNS
    everywhere: bool = False

    @classmethod
    def of(
        cls,
        user: str,
        keys: Iterable[Pseudonymiser] = (),
        columns: Iterable[str] = (),
        everywhere: bool = False,
    ) -> Names:
        """Return the names of the user with this id, or with this pseudonym.

        Raises:
            InputError: the id is empty.
        """
        given = user.strip()
        if not given:
            raise InputError("The id of the user to forget is empty.")
        known = COLUMNS | frozenset(columns)
        if is_pseudonym(given):
            return cls(frozenset(), frozenset({given}), columns=known)
        text, keys = id_texts_of(pl.Series([given]))[0] or given, tuple(keys)
        # Spaces are part of what a pseudonym is made of: the id as it was given is another.
        pseudonyms = frozenset(key.pseudonym(t) for key in keys for t in {text, given, user})
        made_by = frozenset(key.fingerprint for key in keys)
        return cls(frozenset({given, text}), pseudonyms, made_by, known, everywhere)

    @cached_property
    def all(self) -> frozenset[str]:
        """Ids and pseudonyms."""
        return self.ids | self.pseudonyms

    @cached_property
    def telling(self) -> frozenset[str]:
        """Those that mean nobody else wherever they stand."""
        return self.all if self.everywhere else frozenset(filter(is_telling, self.all))

    @cached_property
    def numbers(self) -> frozenset[int]:
        """The id as a whole number of 64 bits, if it is one: ``07`` is none, and another than ``7``."""
        whole = {int(i) for i in self.ids if re.fullmatch(r"-?[1-9][0-9]{0,18}|0", i)}
        return frozenset(n for n in whole if -(1 << 63) <= n < 1 << 63)

    def are(self, texts: pl.Series) -> pl.Series:
        """Return which texts of a column of user ids are this user's."""
        spelt = id_texts_of(texts.str.strip_chars())
        return spelt.is_in(list(self.all)).fill_null(False)

    def stand_in(self, texts: pl.Series, of_users: bool) -> pl.Series:
        """Return which texts of a column name the user: in one of user ids, those that are the user's."""
        return self.are(texts) if of_users else self.mentions(texts)

    def mentioned_in(self, text: str) -> int:
        """Return how often a telling name stands in a text as a whole word."""
        return len(self._pattern.findall(text)) if self.telling else 0

    def mentions(self, texts: pl.Series) -> pl.Series:
        """Return which texts hold a telling name."""
        if not self.telling:
            return pl.Series([False] * len(texts), dtype=pl.Boolean)
        there = texts.str.contains_any(sorted(self._telling_forms)).fill_null(False)
        if not there.any():
            return there
        told = [
            bool(t) and self.mentioned_in(s or "") > 0 for t, s in zip(there, texts, strict=True)
        ]
        return pl.Series(told, dtype=pl.Boolean)

    def scrubbed(self, text: str) -> str:
        """Return a text without telling names."""
        return self._pattern.sub(ERASED, text) if self.telling else text

    def may_be_in(self, text: str) -> bool:
        """Tell whether any name, telling or not, stands in a text as a whole word."""
        return self._any.search(text) is not None

    @cached_property
    def _any(self) -> re.Pattern[str]:
        return _whole_words({f for name in self.all for f in _forms(name)})

    @cached_property
    def _telling_forms(self) -> set[str]:
        return {form for name in self.telling for form in _forms(name)}

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return _whole_words(self._telling_forms)


def is_telling(name: str) -> bool:
    """Tell whether a name means nobody else wherever it stands.

    >>> [is_telling(n) for n in ("ann7", "12", "banana", "banana77", "ann@example.org", "491701234")]
    [False, False, False, True, True, True]
    """
    if NUMBER.fullmatch(name):
        return sum(map(str.isdigit, name)) >= DIGITS
    letters = sum(map(str.isalpha, name))
    return len(name) >= CHARACTERS and 0 < letters < len(name)


def _forms(name: str) -> set[str]:
    """Return how a name is written in plain text, HTML, JSON and addresses."""
    quoted = {json.dumps(name)[1:-1], json.dumps(name, ensure_ascii=False)[1:-1]}
    return {name, html.escape(name), html.escape(name, quote=False), quote(name, safe=""), *quoted}


def _whole_words(forms: set[str]) -> re.Pattern[str]:
    longest = sorted(map(re.escape, forms), key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(longest)})(?!\w)")
