"""Whether a model's scores tell who was among its training rows: attacks, and how well they do.

An attack gives each row (or user) a number, higher = more likely a member, and is judged by its AUC:
½ is a guess. Members and non-members may differ by more than membership: with a split by time,
members are older. So each attack stands beside one by a *reference* model, which has seen neither
and knows only what is like what; and the *advantage* is the difference of the two, on the same rows.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from recprune._support import stream
from recprune.data import Split
from recprune.encoding import Rows
from recprune.errors import DataError
from recprune.evaluation.bootstrap import Clusters, PairedAuc
from recprune.evaluation.delong import delong_error
from recprune.evaluation.estimates import LEVEL, auc_interval
from recprune.evaluation.intervals import effective_freedom, t_quantile
from recprune.metrics import auc

__all__ = [
    "Attack",
    "MembershipAudit",
    "judge_membership",
    "membership_audit",
    "membership_difference",
    "membership_rows",
    "users_apart",
]

F64 = NDArray[np.float64]
Level = Literal["row", "user"]

#: Rows of members, and of non-members, that are looked at.
MOST_ROWS = 20_000
#: Rows among which those of many users are sought, for each that is wanted.
CANDIDATES = 20
#: The share of non-members that may be taken for members.
FALSE_ALARMS = 0.01
#: Fewer non-members than this say nothing of one in a hundred.
LEAST = 200


@dataclass(frozen=True)
class Attack:
    """How well one attack tells members from non-members.

    Args:
        attack: ``"loss"``: a low loss (Yeom et al. 2018, "Privacy risk in machine learning",
            adversary 2); ``"calibrated"``: a loss lower than the reference model's (Watson et al.
            2022, "On the importance of difficulty calibration in membership inference attacks",
            eq. 3); ``"reference"``: a low loss of the reference model, which has seen no member.
        level: of one row, or of the mean over a user's rows.
        auc: that a member is above a non-member.
        interval: its 95 % interval, rows clustered by user; None where it cannot be told.
        caught: share of members above all but 1 % of the non-members (Carlini et al. 2022,
            "Membership inference attacks from first principles"); None of fewer than 200.
        members, non_members: rows, or users.
    """

    attack: Literal["loss", "calibrated", "reference"]
    level: Level
    auc: float
    interval: tuple[float, float] | None
    caught: float | None
    members: int
    non_members: int


@dataclass(frozen=True)
class MembershipAudit:
    """What a model's scores tell of who was among its training rows.

    Args:
        attacks: by row, then by user where no user has rows of both kinds.
        advantage: AUC of the better attack by row less that of the reference attack: what this
            model's scores add to what anyone could tell; without a reference, AUC − ½.
        advantage_interval: its 95 % interval; None where it cannot be told.
    """

    attacks: tuple[Attack, ...]
    advantage: float
    advantage_interval: tuple[float, float] | None

    def __getitem__(self, name: str) -> Attack:
        """Return an attack by row, or by user as ``"loss by user"``."""
        attack, _, level = name.partition(" by ")
        return next(a for a in self.attacks if (a.attack, a.level) == (attack, level or "row"))

    @property
    def leaks(self) -> bool:
        """Whether the advantage is above zero beyond its interval, of rows that were drawn alike.

        Where there is none it is said to be at most one time in twenty, the better of two attacks
        being taken. Of rows that differ by time it proves nothing: a reference of rows between the
        two, or after them, is better at the later ones.
        """
        return self.advantage_interval is not None and self.advantage_interval[0] > 0

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {**asdict(self), "leaks": self.leaks}

    def __str__(self) -> str:
        lines = []
        for a in self.attacks:
            bounds = "" if a.interval is None else "{:.3f} to {:.3f}".format(*a.interval)
            caught = "" if a.caught is None else f"{a.caught:6.1%} at 1 % false alarms"
            lines.append(f"{a.attack + ' by ' + a.level:<20} {a.auc:.3f}  {bounds:<15}  {caught}")
        told = "" if self.advantage_interval is None else " ({:+.3f} to {:+.3f})"
        bounds = told.format(*(self.advantage_interval or ()))
        return "\n".join([*lines, f"advantage            {self.advantage:+.3f}{bounds}"])


class Judge(Protocol):
    """What scores rows: a ranker."""

    def aligned(self, split: Split) -> Split:
        """Return the rows in its codes."""
        ...

    def logits(self, rows: Rows) -> NDArray[np.float32]:
        """Return the logits of encoded rows."""
        ...


class _Told(NamedTuple):
    """Members' and non-members' rows, one after the other."""

    member: NDArray[np.bool_]
    label: NDArray[np.float32]
    users: NDArray[Any]


def membership_audit(
    model: Judge,
    members: Split,
    non_members: Split,
    reference: Judge | None = None,
    *,
    most: int = MOST_ROWS,
    seed: int = 0,
) -> MembershipAudit:
    """Attack a model with rows that it was trained on and rows that it has not seen.

    The non-members should be drawn as the members were: rows held out at random (``by="random"`` or
    ``"user"``), not later ones. Where they are not, the ``reference`` says how much of an attack is
    the difference between the two, and the advantage leaves that out.

    Args:
        model: a ranker.
        members: of its training rows.
        non_members: rows that had no part in training, nor in stopping it.
        reference: a ranker trained on other rows than these and the model's; None = no
            ``"calibrated"`` and ``"reference"`` attack.
        most: rows of each kind that are looked at, drawn at random.
        seed: of the draw.

    Raises:
        DataError: no members, or no non-members.
    """
    inside, outside = (
        membership_rows(s, most, seed, n)
        for s, n in ((members, "members"), (non_members, "non-members"))
    )
    scores = [
        np.concatenate([judge.logits(judge.aligned(part).rows) for part in (inside, outside)])
        for judge in (model, reference)
        if judge is not None
    ]
    base = scores[1] if reference is not None else None
    apart = users_apart(members, non_members)
    return judge_membership(inside, outside, scores[0], base, apart=apart)


def membership_rows(split: Split, most: int, seed: int, name: str) -> Split:
    """Return so many rows, at most, drawn at random: of many users, no more of each than it takes.

    Rows of one user tell less than rows of several, since they hang together.
    """
    if len(split) <= most:
        return split
    order = stream(seed, "membership", name).permutation(len(split))[: CANDIDATES * most]
    if split.users is not None:
        owner = np.unique(split.users[order], return_inverse=True)[1]
        # Every user's first row of the order, then every user's second, …
        place = np.argsort(owner, kind="stable")
        count = np.bincount(owner)
        turn = np.empty(len(order), np.int64)
        turn[place] = np.arange(len(order)) - np.repeat(np.cumsum(count) - count, count)
        order = order[np.argsort(turn, kind="stable")]
    return split.take(np.sort(order[:most]))


def users_apart(members: Split, non_members: Split) -> bool:
    """Tell whether no user has rows of both kinds; rows without users have none."""
    if members.users is None or non_members.users is None:
        return False
    return not np.isin(non_members.users, members.users).any()


def judge_membership(
    members: Split,
    non_members: Split,
    logits: NDArray[Any],
    reference: NDArray[Any] | None = None,
    *,
    apart: bool = False,
) -> MembershipAudit:
    """Judge the attacks of :func:`membership_audit` from logits of these rows.

    Args:
        members, non_members: m and n rows.
        logits: the model's, of the members, then the non-members, shape ``(m + n,)``.
        reference: the reference model's, or None.
        apart: whether no user has rows of both kinds, these or others: then users are attacked, too.

    Raises:
        DataError: no members, or no non-members.
    """
    if not len(members) or not len(non_members):
        raise DataError("An audit of membership needs rows of training and rows held out from it.")
    told = _told(members, non_members)
    scores = {"loss": -_loss(told.label, logits)}
    if reference is not None:
        scores["reference"] = -_loss(told.label, reference)
        scores["calibrated"] = scores["loss"] - scores["reference"]
    attacks = [_attack(name, "row", told.member, s, told.users) for name, s in scores.items()]
    if apart:
        kind, where = _by_user(told)
        means = {name: _mean(s, where) for name, s in scores.items()}
        own = np.arange(len(kind))
        attacks += [_attack(name, "user", kind, mean, own) for name, mean in means.items()]
    rows = {a.attack: a.auc for a in attacks if a.level == "row"}
    best = max((n for n in rows if n != "reference"), key=lambda n: rows[n])
    base = scores.get("reference", np.zeros(len(told.label)))
    advantage, bounds = _difference(told, base, scores[best])
    return MembershipAudit(tuple(attacks), advantage, bounds)


def membership_difference(
    members: Split, non_members: Split, first: NDArray[Any], second: NDArray[Any]
) -> tuple[float, tuple[float, float] | None]:
    """Return by how much the loss attack's AUC is higher on a second model than on a first.

    Args:
        members, non_members: m and n rows.
        first, second: logits of the members, then the non-members, shape ``(m + n,)``.

    Returns:
        The difference, paired on the same rows, and its 95 % interval with rows clustered by user;
        None where it cannot be told.
    """
    told = _told(members, non_members)
    return _difference(told, *(-_loss(told.label, logits) for logits in (first, second)))


def _told(members: Split, non_members: Split) -> _Told:
    parts = members, non_members
    member = np.repeat([True, False], [len(p) for p in parts])
    label = np.concatenate([p.label for p in parts])
    if any(p.users is None for p in parts):
        return _Told(member, label, np.arange(len(member)))
    return _Told(member, label, np.concatenate([np.asarray(p.users) for p in parts]))


def _loss(label: NDArray[np.float32], logits: NDArray[Any]) -> F64:
    """Return each row's cross-entropy."""
    sign = np.where(label > 0.5, -1.0, 1.0)
    return np.asarray(np.logaddexp(0, sign * np.asarray(logits, np.float64)), np.float64)


def _by_user(told: _Told) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return whether each user is a member, and each row's user."""
    names, where = np.unique(told.users, return_inverse=True)
    kind = np.zeros(len(names), bool)
    kind[where[told.member]] = True
    return kind, where


def _mean(score: F64, where: NDArray[np.int64]) -> F64:
    means: F64 = np.bincount(where, score) / np.bincount(where)
    return means


def _attack(
    name: Any, level: Level, member: NDArray[np.bool_], score: F64, users: NDArray[Any]
) -> Attack:
    outside = np.sort(score[~member])
    caught = None
    if len(outside) >= LEAST:
        # The lowest score that at most 1 % of the non-members exceed.
        edge = outside[len(outside) - 1 - int(FALSE_ALARMS * len(outside))]
        caught = float((score[member] > edge).mean())
    found, bounds = auc(member, score), auc_interval(member, score, users)
    return Attack(name, level, found, bounds, caught, int(member.sum()), len(outside))


def _difference(told: _Told, first: F64, second: F64) -> tuple[float, tuple[float, float] | None]:
    """Return AUC(second) − AUC(first) and its 95 % interval, with rows clustered by user."""
    owner = Clusters(len(first), told.users)
    pair = PairedAuc(told.member, first[None], second[None], owner)
    middle, error = float(pair.observed[0]), delong_error(told.member, pair.gain[0], owner)
    if not np.isfinite(error):
        return middle, None
    freedom = effective_freedom(pair.influence[0], owner.code, owner.size)
    reach = t_quantile(0.5 + LEVEL / 2, freedom) * error
    return middle, (middle - reach, middle + reach)
