"""What the columns of a table are: fields, label, user and item. Pure data, no engine."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

from recprune.dates import DATE_PARTS, DatePart
from recprune.errors import SchemaError, nearest

__all__ = ["Field", "Kind", "Schema", "Source"]

Kind = Literal["categorical", "numeric", "sequence", "dense"]
Source = Literal["user", "item", "context", "cross"]


@dataclass(frozen=True)
class Field:
    """One input column.

    Args:
        name: the column's name.
        kind: ``"categorical"`` (values are looked up in a vocabulary), ``"numeric"``,
            ``"sequence"`` (a list of categories) or ``"dense"`` (a vector of numbers).
        source: whose attribute it is. ``"cross"`` is a user's history with one value of an
            item field: a per-user table indexed by the value of column ``by``.
        sensitive: a personal attribute; reported on its own.
        cost: what one year of collecting the column costs, in any one unit; None = not stated.
        by: for ``source="cross"``, the item column whose value indexes the user's table.
        of: the column of dates that this field is a part of; None = a column of its own.
        part: which part: ``"hour"``, ``"weekday"``, ``"month"``, or ``"age"``, the days from the
            date to the row's time (without a time column: from 1970 to the date).
        group: name shared by columns that tell the same, as a price in two currencies: they are
            ranked as one, and one of them is kept; None = on its own.
    """

    name: str
    kind: Kind
    source: Source = "context"
    sensitive: bool = False
    cost: float | None = None
    by: str | None = None
    of: str | None = None
    part: DatePart | None = None
    group: str | None = None

    def __post_init__(self) -> None:
        for attribute, allowed in (("kind", get_args(Kind)), ("source", get_args(Source))):
            value = getattr(self, attribute)
            if value not in allowed:
                raise SchemaError(
                    f"Field {self.name!r}: {attribute} must be one of {', '.join(allowed)}. "
                    f"Got {value!r} instead."
                )
        if (self.by is not None) != (self.source == "cross"):
            raise SchemaError(
                f"Field {self.name!r}: 'by' names the item column of a cross field; give it "
                f"exactly when source is 'cross'. Got source={self.source!r}, by={self.by!r}."
            )
        if (self.of is None) != (self.part is None) or self.part not in (None, *DATE_PARTS):
            raise SchemaError(
                f"Field {self.name!r}: 'of' names a column of dates and 'part' one of "
                f"{', '.join(DATE_PARTS)}; give both or neither. Got of={self.of!r}, "
                f"part={self.part!r}."
            )


@dataclass(frozen=True)
class Schema:
    """The fields of a table, in order, and the columns with a role.

    Args:
        fields: the inputs.
        label: 0/1: what is predicted.
        user: ids of users; a field too when the model may use the id itself.
        item: ids of items; likewise. Without it the table ranks its rows (users, sessions).
        time: orders the rows.
        weight: how much a row counts in training.
        other_labels: further 0/1 outcomes of the same rows (purchases beside clicks): never fields.
    """

    fields: tuple[Field, ...]
    label: str
    user: str | None = None
    item: str | None = None
    time: str | None = None
    weight: str | None = None
    other_labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "other_labels", tuple(self.other_labels))
        names = [f.name for f in self.fields]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise SchemaError(
                f"The schema names these fields twice: {', '.join(map(repr, twice))}."
            )
        if self.label in names:
            raise SchemaError(f"The label column {self.label!r} cannot be a field too.")
        for first, second in itertools.combinations(("label", "user", "item", "time"), 2):
            name = getattr(self, first)
            if name is not None and name == getattr(self, second):
                raise SchemaError(
                    f"The {first} column {name!r} cannot be the {second} too. Name different columns."
                )
        apart = [*self.other_labels, *([self.weight] if self.weight else [])]
        for name in apart:
            taken = name in (*names, self.label, self.user, self.item, self.time)
            if taken or apart.count(name) > 1:
                raise SchemaError(
                    f"Column {name!r} is a weight or another label; it cannot be a field or have "
                    "another role too."
                )
        for field in self.fields:
            if field.source in ("item", "cross") and self.item is None:
                raise SchemaError(
                    f"Field {field.name!r} has source {field.source!r}, but the schema names no "
                    "item column. Name it with item=…, or give the field another source."
                )

    @property
    def names(self) -> tuple[str, ...]:
        """Field names, in order."""
        return tuple(f.name for f in self.fields)

    def __getitem__(self, name: str) -> Field:
        for field in self.fields:
            if field.name == name:
                return field
        raise SchemaError(f"The schema has no field {name!r}.{nearest(name, self.names)}")

    def only(self, names: tuple[str, ...]) -> Schema:
        """Return the schema with these fields alone, in this schema's order."""
        for name in names:
            self[name]
        return replace(self, fields=tuple(f for f in self.fields if f.name in names))

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able dictionary; ``from_json`` reads it back."""
        plain = asdict(self)
        for field in plain["fields"]:
            # As it was written before there were groups, so that older versions read it.
            if field["group"] is None:
                del field["group"]
        return plain

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Schema:
        """Build a schema from ``to_json``'s dictionary, refusing unknown keys by name."""
        known = set(cls.__dataclass_fields__)
        for key in data:
            if key not in known:
                raise SchemaError(f"Unknown key {key!r} in the schema.{nearest(key, known)}")
        try:
            fields = tuple(Field(**f) for f in data["fields"])
            made = cls(**{**data, "fields": fields})
            _check_types(made)
            return made
        except (KeyError, TypeError) as error:
            raise SchemaError(f"The schema cannot be read: {error}.") from error


def _check_types(schema: Schema) -> None:
    """Refuse names that are no texts, and facts of another type; as a dictionary may hold them."""
    roles = [schema.user, schema.item, schema.time, schema.weight]
    names = [schema.label, *schema.other_labels, *(f.name for f in schema.fields)]
    optional = [*roles, *(n for f in schema.fields for n in (f.by, f.of))]
    names += [name for name in optional if name is not None]
    if odd := [name for name in names if not isinstance(name, str)]:
        raise SchemaError(f"The schema names a column {odd[0]!r}; names are texts.")
    for field in schema.fields:
        if not isinstance(field.sensitive, bool):
            raise SchemaError(f"Field {field.name!r}: sensitive must be true or false.")
        if field.cost is not None and not isinstance(field.cost, int | float):
            raise SchemaError(f"Field {field.name!r}: cost must be a number.")
