"""What is looked at once, before there are workers: mistakes that would show as odd answers only."""

from __future__ import annotations

import itertools
import time

from recprune._support import logger
from recprune.crypto import is_pseudonym, read_key
from recprune.errors import InputError
from recprune.security import KeyStore
from recprune.serving.loading import Loaded
from recprune.serving.settings import ServeSettings

__all__ = ["check"]

#: Users whose ids are looked at.
LOOKED_AT = 1000


def check(settings: ServeSettings, loaded: Loaded) -> None:
    """Refuse settings that do not go with keys and users, and warn of what may be meant.

    Args:
        settings: of the service.
        loaded: what it is about to serve.

    Raises:
        InputError: API keys under another pepper, or plain ids where pseudonyms are to be.
    """
    if not settings.callers.insecure:
        _keys(settings)
    if loaded.users is not None:
        _ids(loaded.users.ids, settings.callers.keys.pseudonymised)
        _columns(loaded)


def _keys(settings: ServeSettings) -> None:
    callers, now = settings.callers, time.time()
    keys = KeyStore(settings.state / "keys.json", read_key("pepper", callers.keys.pepper)).list()
    if callers.identity is None and not any(key.state(now) == "valid" for key in keys):
        logger.warning(
            "There is no valid API key, so that nobody may ask. Make one with: recprune keys create "
            "NAME --state %s --scope recommend",
            settings.state,
        )


def _ids(ids: tuple[str, ...], pseudonymised: bool) -> None:
    first = list(itertools.islice(ids, LOOKED_AT))
    hashed = sum(map(is_pseudonym, first))
    if pseudonymised and first and not hashed:
        raise InputError(
            "The stored users go by plain ids, and requests' ids would be hashed: nobody would be "
            "found. Leave out --pseudonymised-users, or ingest with --pseudonymise-users."
        )
    if not pseudonymised and first and hashed == len(first):
        logger.warning(
            "The stored users go by pseudonyms, and requests' ids are not hashed: users are found by "
            "their pseudonyms alone. For raw ids, add --pseudonymised-users."
        )


def _columns(loaded: Loaded) -> None:
    users, schema = loaded.users, loaded.scorer.encoder.schema
    stored = {schema.user, *(() if users is None else users.columns)}
    own = [f for f in schema.fields if f.source == "user"]
    lacking = [f.name for f in own if f.name not in stored and f.of not in stored]
    if lacking:
        logger.warning(
            "The stored users lack %s, which the model reads: not known, unless a request has it "
            "in its context. Write users.rp anew from the table that the model was trained on.",
            ", ".join(map(repr, lacking[:10])),
        )
