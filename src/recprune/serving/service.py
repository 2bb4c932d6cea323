"""What one worker holds: the model in service, hidden items, counters, and who may ask."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any

from recprune._support import logger
from recprune.crypto import Pseudonyms
from recprune.errors import InputError
from recprune.security import Audit, AuditUnavailable, Denied
from recprune.serving.answering import Answer, Answering
from recprune.serving.hidden import HiddenItems
from recprune.serving.kept import Kept, KeptAnswers
from recprune.serving.live import Live
from recprune.serving.loading import Loaded
from recprune.serving.metrics import Drift, Metrics
from recprune.serving.settings import ServeSettings

__all__ = ["Service"]

#: What of a verdict is told; its slices are in the report.
TOLD = ("outcome", "metric", "tolerance", "difference", "ci")

RETRY = ((b"retry-after", b"1"),)


class Service:
    """What one worker holds.

    Args:
        settings: of the service.
        metrics: what it counts goes there.
        audit: writes down which model is put in place; None = nothing is written down.

    Raises:
        InputError: a secret key is lacking.
    """

    def __init__(
        self, settings: ServeSettings, metrics: Metrics, audit: Audit | None = None
    ) -> None:
        self.settings, self.metrics, self._audit = settings, metrics, audit
        self.hidden = HiddenItems(settings.state / "hidden.json")
        self.live = Live(settings.sources, self._loading, self._changed, self._failed)
        keys = settings.callers.keys
        self._pseudonyms = Pseudonyms.read(keys.pseudonym) if keys.pseudonymised else None
        self._answering: Answering | None = None
        self._answers = KeptAnswers(settings.most.kept_bytes, self._made_from)
        self._drift: dict[str, Drift] = {}
        self._draining = False

    def start(self) -> None:
        """Load the model, before the first request.

        Raises:
            RecpruneError: it cannot be loaded, or tells nothing apart.
        """
        self.live.start()

    def tasks(self) -> list[Coroutine[Any, Any, None]]:
        """Return what goes on beside the requests."""
        return [self.live.watch()]

    def close(self) -> None:
        """Be ready no more."""
        self._draining = True

    def answering(self) -> Answering:
        """Return what answers.

        Raises:
            Denied: 503, there is no model, or the worker is about to end.
        """
        if self._answering is None or self._draining:
            raise Denied(503, "not_ready", "No model is ready.", RETRY)
        return self._answering

    def recommend(self, asked: Any) -> Answer:
        """Answer ``POST /v1/recommend``."""
        answering, hidden = self._made_from()
        if not answering.loaded.ranks:
            raise InputError("This model ranks rows and has no catalogue. Use /v1/score.")
        answer = answering.recommend(asked, hidden)
        for known in _known(asked, answer):
            self.metrics.asked_for(known)
        best = [each["items"][0]["score"] for each in _lists(answer) if each["items"]]
        if answering.is_main(asked.label):
            self._scored("/v1/recommend", best)
        return answer

    def kept(self, body: bytes) -> bytes | None:
        """Return the answer that a body of ``POST /v1/recommend`` got before, if it still holds."""
        found = self._answers.get(body)
        if found is None:
            return None
        for known in found.known:
            self.metrics.asked_for(known)
        self.metrics.kept.inc()
        return found.body

    def keep(self, body: bytes, asked: Any, answer: Answer, text: bytes) -> None:
        """Keep an answer of :meth:`recommend`."""
        self._answers.keep(body, Kept(text, _known(asked, answer)))

    def score(self, asked: Any) -> Answer:
        """Answer ``POST /v1/score``."""
        answering = self.answering()
        answer = answering.score(asked)
        if answering.names_user(asked):
            self.metrics.asked_for(not answer["fallback"])
        if answering.is_main(asked.label):
            self._scored("/v1/score", [s for s in answer["scores"] if s is not None])
        return answer

    def hide(self, asked: Any) -> int:
        """Hide items; return how many are hidden."""
        return self._hidden(self.hidden.hide, asked)

    def show(self, asked: Any) -> int:
        """Show items again; return how many are hidden."""
        return self._hidden(self.hidden.show, asked)

    def facts(self) -> Mapping[str, Any]:
        """Answer ``GET /v1/model``."""
        return model_facts(self.answering().loaded)

    def _made_from(self) -> tuple[Answering, frozenset[str]]:
        """Return what an answer is made from now."""
        try:
            return self.answering(), self.hidden.ids()
        except (OSError, InputError) as error:
            # Rather no answer than one with an item that was withdrawn.
            raise Denied(503, "hidden_unknown", "Hidden items cannot be read.", RETRY) from error

    def _hidden(self, change: Callable[[Iterable[str]], int], asked: Any) -> int:
        try:
            return change(map(str, asked.items))
        except (OSError, InputError) as error:
            # Not the caller's doing; and the error names folders of this machine.
            logger.error("Hidden items cannot be changed: %s", error)
            raise Denied(503, "hidden_unchanged", "Hidden items cannot be changed.") from error

    def _scored(self, route: str, scores: list[float]) -> None:
        if route not in self._drift:
            self._drift[route] = Drift()
        index = self._drift[route].add(scores)
        if index is not None:
            self.metrics.drift.labels(route).set(index)

    def _loading(self, loaded: Loaded) -> None:
        if self._audit is None:
            return
        version = loaded.about.version
        try:
            self._audit.event("model.load", model=version)
        except AuditUnavailable:
            # Whom a new model has forgotten is not to wait for room on the disk.
            self._audit.count("service", "model.load", version)

    def _changed(self, loaded: Loaded) -> None:
        self._answering = Answering(loaded, self._pseudonyms)
        self._drift = {"/v1/recommend": Drift(loaded.usual)}
        self.metrics.reloads.labels("loaded").inc()

    def _failed(self, why: str) -> None:
        self.metrics.reloads.labels("failed").inc()


def _lists(answer: Answer) -> list[Answer]:
    return answer.get("answers") or [answer]


def _known(asked: Any, answer: Answer) -> tuple[bool, ...]:
    """Return whether each user who was asked for is known; a record of attributes is no user."""
    if asked.record is not None:
        return ()
    return tuple(not each["fallback"] for each in _lists(answer))


def model_facts(loaded: Loaded) -> dict[str, Any]:
    """Return what may be known of a model."""
    scorer, users = loaded.scorer, loaded.users
    schema = scorer.encoder.schema
    stored = () if users is None else users.columns
    fields = [
        {
            "name": f.name,
            "kind": f.kind,
            "source": f.source,
            "sensitive": f.sensitive,
            "required": f.name not in stored and f.of not in stored,
        }
        for f in schema.fields
    ]
    verdict = loaded.about.report.get("verdict")
    return {
        "model": loaded.about.version,
        "kind": loaded.about.kind,
        "labels": list(scorer.labels),
        "fields": fields,
        "items": None if scorer.catalogue is None else len(scorer.catalogue),
        "stored_users": None if users is None else len(users),
        "bytes_in_memory": scorer.bytes_in_memory,
        "verdict": {n: verdict.get(n) for n in TOLD} if isinstance(verdict, dict) else None,
    }
