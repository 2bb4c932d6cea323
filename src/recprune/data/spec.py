"""What the user states about a table: roles, dropped columns, and ``schema.toml``'s overrides."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from recprune.data.feature_map import read_feature_map
from recprune.data.labels import LabelRule
from recprune.data.negatives import Negatives
from recprune.data.rules import RULES, FieldRule
from recprune.dates import DATE_PARTS
from recprune.errors import DataError, InputError, SchemaError, nearest
from recprune.schema import Field, Schema

__all__ = ["Spec", "Stated", "read_spec"]

ROLES = ("label", "user", "item", "time", "weight")
LABELS = ("label_threshold", "negative_rate", "negatives")
KEYS = (*ROLES, "other_labels", "drop", "fields", *RULES, *LABELS)
PROPERTIES = ("kind", "source", "sensitive", "cost", "by", "of", "part", "group")
FIELD_KEYS = (*PROPERTIES, "parts", *RULES)


@dataclass(frozen=True)
class Spec:
    """Roles, dropped columns and stated properties of fields.

    Args:
        label, user, item, time, weight: column names; None = not stated.
        other_labels: further outcomes.
        drop: columns to leave out.
        fields: column → stated properties (those of :class:`recprune.schema.Field`).
        rules: field → which values get an embedding row of their own.
        rule: the same for all other fields.
        whole: ``fields`` are all fields; other columns are left out.
        labels: how rows come by their 0 and 1.
    """

    label: str | None = None
    user: str | None = None
    item: str | None = None
    time: str | None = None
    weight: str | None = None
    other_labels: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    fields: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    rules: Mapping[str, FieldRule] = field(default_factory=dict)
    rule: FieldRule = FieldRule()  # noqa: RUF009 (frozen)
    whole: bool = False
    labels: LabelRule = LabelRule()  # noqa: RUF009 (frozen)

    def with_roles(
        self,
        drop: Iterable[str],
        *,
        threshold: float | None = None,
        negatives: Negatives | None = None,
        **roles: str | None,
    ) -> Spec:
        """Return the spec with roles and labels given by arguments, which win over the file's.

        Args:
            drop: further columns to leave out; one name will do.
            threshold, negatives: see :class:`recprune.data.labels.LabelRule`.
            roles: role → column; None = not stated.
        """
        given = {name: value for name, value in roles.items() if value is not None}
        gone = (drop,) if isinstance(drop, str) else tuple(drop)
        labels = self.labels
        if threshold is not None:
            labels = replace(labels, threshold=threshold)
        if negatives is not None:
            labels = replace(labels, negatives=negatives)
        labels = replace(labels, column=given.get("label", self.label))
        return replace(self, drop=(*self.drop, *gone), labels=labels, **given)  # type: ignore[arg-type]

    def used(self, columns: Iterable[str]) -> list[str]:
        """Return the columns of a table that are not left out, in its order."""
        roles = [getattr(self, role) for role in ROLES]
        sources = [f.get(key) for f in self.fields.values() for key in ("by", "of")]
        stated = {*self.fields, *roles, *self.other_labels, *sources}
        return [c for c in columns if c not in self.drop and (not self.whole or c in stated)]

    def check(
        self, columns: Iterable[str], needs_label: bool = True, owner: str = "The table"
    ) -> None:
        """Refuse names that the table does not have, and one column in two roles.

        Args:
            columns: the table's.
            needs_label: whether a label must be named.
            owner: what holds the columns, to begin a message.

        Raises:
            DataError: names the role, the column and the nearest column of the table.
        """
        columns = list(columns)
        if needs_label:
            self.labels.check(self.label, self.user, self.item)
        roles = {role: getattr(self, role) for role in ROLES if getattr(self, role) is not None}
        for role, name in roles.items():
            if name not in columns:
                raise DataError(f"{owner} has no {role} column {name!r}.{nearest(name, columns)}")
        read = [stated.get("of") or name for name, stated in self.fields.items()]
        named = {
            "to drop": self.drop,
            "as the schema's field": read,
            "as another label": self.other_labels,
        }
        for what, names in named.items():
            for name in names:
                if name not in columns:
                    raise DataError(
                        f"{owner} has no column {name!r} {what}.{nearest(name, columns)}"
                    )
        if len(set(roles.values())) < len(roles):
            raise DataError(f"One column has two roles: {roles}. Name different columns.")
        for name in self.drop:
            if name in roles.values():
                raise DataError(f"Column {name!r} is named both to drop and as a role: {roles}.")


#: The forms of a schema argument.
Stated = Spec | Schema | Mapping[str, Any] | str | Path | None


def read_spec(schema: Stated) -> Spec:
    """Return what a schema argument states.

    Args:
        schema: a ``Schema`` (exactly these fields), a path to ``schema.toml``, or the same as a
            dictionary: ``label``, ``user``, ``item``, ``time``, ``weight``, ``other_labels``,
            ``drop``, and ``fields``, a table of
            ``kind``, ``source``, ``sensitive``, ``cost``, ``by``, ``group`` and the keys of
            :class:`recprune.data.rules.FieldRule` for each named field; the rest is inferred. A
            ``kind`` of ``"date"`` is read as its ``parts`` (hour, weekday, month, age). The rules'
            keys at the top hold for all fields. ``label_threshold``, ``negative_rate`` and
            ``negatives``, a table of :class:`Negatives`' arguments, say how rows come by their label
            (:class:`recprune.data.labels.LabelRule`). A path that ends in .json is FuxiCTR's
            ``feature_map.json``: exactly its fields.

    Raises:
        SchemaError: an unknown key (the nearest is named), or a value of a wrong type.

    >>> read_spec({"user": "id", "fields": {"zip": {"kind": "categorical"}}}).fields["zip"]
    {'kind': 'categorical'}
    """
    if schema is None:
        return Spec()
    if isinstance(schema, Spec):
        return schema
    if isinstance(schema, Schema):
        stated = {f.name: {k: getattr(f, k) for k in PROPERTIES} for f in schema.fields}
        roles = {role: getattr(schema, role) for role in ROLES}
        return Spec(**roles, other_labels=schema.other_labels, fields=stated, whole=True)
    if isinstance(schema, Mapping):
        return _parse(schema, "The schema")
    owner = f"Schema file {str(schema)!r}"
    if Path(schema).suffix.lower() == ".json":
        return replace(_parse(read_feature_map(Path(schema)), owner), whole=True)
    try:
        return _parse(tomllib.loads(Path(schema).read_text(encoding="utf-8")), owner)
    except OSError as error:
        raise SchemaError(f"{owner} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SchemaError(f"{owner} is no valid TOML: {error}.") from error


def _parse(data: Mapping[str, Any], owner: str) -> Spec:
    _known(data, KEYS, owner)
    for role in ROLES:
        if not isinstance(data.get(role), str | None):
            raise SchemaError(f"{owner}: {role!r} must be a column name. Got {data[role]!r}.")
    lists = {key: data.get(key, ()) for key in ("drop", "other_labels")}
    for key, names in lists.items():
        if not (isinstance(names, list | tuple) and all(isinstance(n, str) for n in names)):
            raise SchemaError(f"{owner}: {key!r} must be a list of column names. Got {names!r}.")
    table = data.get("fields", {})
    if not isinstance(table, Mapping):
        raise SchemaError(f"{owner}: 'fields' must be a table, one entry a column. Got {table!r}.")
    fields, rules = {}, {}
    rule = FieldRule.read(data, owner)
    for name, stated in table.items():
        if not isinstance(stated, Mapping):
            raise SchemaError(
                f"{owner}: field {name!r} must be a table of its properties. Got {stated!r}."
            )
        _known(stated, FIELD_KEYS, f"{owner}, field {name!r}")
        fields[name] = {k: v for k, v in stated.items() if k not in RULES}
        _check_properties(name, fields[name], owner)
        rules[name] = FieldRule.read(stated, f"{owner}, field {name!r}").over(rule)
    roles: dict[str, Any] = {role: data.get(role) for role in ROLES}
    named: dict[str, Any] = {key: tuple(names) for key, names in lists.items()}
    try:
        labels = LabelRule.stated(data)
    except InputError as error:
        raise SchemaError(f"{owner}: {error}") from error
    return Spec(**roles, **named, fields=fields, rules=rules, rule=rule, labels=labels)


def _known(given: Mapping[str, Any], keys: tuple[str, ...], owner: str) -> None:
    for key in given:
        if key not in keys:
            raise SchemaError(f"{owner}: unknown key {key!r}.{nearest(key, keys)}")


def _check_properties(name: str, stated: Mapping[str, Any], owner: str) -> None:
    source = stated.get("source", "cross" if "by" in stated else "context")
    kind, parts = stated.get("kind", "numeric"), stated.get("parts", ())
    date = kind == "date"
    known = isinstance(parts, list | tuple) and all(part in DATE_PARTS for part in parts)
    if "parts" in stated and not (date and parts and known):
        raise SchemaError(
            f"{owner}, field {name!r}: 'parts' must list some of {', '.join(DATE_PARTS)}, and kind "
            f'be "date". Got {parts!r}.'
        )
    of, part = stated.get("of"), stated.get("part")
    for key in ("by", "of"):
        if not isinstance(stated.get(key), str | None):
            raise SchemaError(
                f"{owner}, field {name!r}: {key!r} must be a column name. Got {stated[key]!r}."
            )
    Field(name, "numeric" if date else kind, source, by=stated.get("by"), of=of, part=part)
    if not isinstance(stated.get("sensitive", False), bool):
        raise SchemaError(f"{owner}, field {name!r}: 'sensitive' must be true or false.")
    group = stated.get("group")
    if group is not None and not (isinstance(group, str) and group):
        raise SchemaError(f"{owner}, field {name!r}: 'group' must be a name. Got {group!r}.")
    cost = stated.get("cost")
    if cost is not None and (
        isinstance(cost, bool) or not isinstance(cost, int | float) or not 0 <= cost < math.inf
    ):
        raise SchemaError(
            f"{owner}, field {name!r}: 'cost' must be a finite number ≥ 0. Got {cost!r}."
        )
