"""Requests and answers, as the OpenAPI page describes them."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from recprune.serving.cells import LARGEST, Filter, Name, Record, Whole
from recprune.serving.settings import Most

__all__ = [
    "Failure",
    "HiddenCount",
    "ManyRecommendations",
    "ModelFacts",
    "Recommendations",
    "Requests",
    "Scores",
    "Status",
    "requests",
]

#: Members of a request beyond which nobody looks which of them there are.
MANY_MEMBERS = 50


def _whole(value: Any) -> Any:
    """Return 3 for 3.0, which in JSON is a whole number too; else what came."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _of_float(value: Any) -> int:
    """Return 3 for 3.0, and refuse all that is not written with a fraction: others know it."""
    if not isinstance(value, float) or not value.is_integer():
        raise ValueError("Input should be a whole number")
    return int(value)


Id = Annotated[
    Name | Whole | Annotated[Whole, BeforeValidator(_of_float)],
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "maxLength": 1_000},
                {"type": "integer", "minimum": -LARGEST, "maximum": LARGEST},
            ]
        }
    ),
]

#: What a request does not give; it may not give null in its place.
ABSENT: Any = None
#: What goes together in a request to score, in the words of JSON Schema.
FOR_ROWS = {
    "required": ["rows"],
    "properties": {"context": {"maxProperties": 0}},
    "not": {"anyOf": [{"required": ["user"]}, {"required": ["items"]}]},
}
FOR_ITEMS = {
    "required": ["user", "items"],
    "properties": {"calibrated": {"const": False}},
    "not": {"required": ["rows"]},
}


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _few(cls, given: Any) -> Any:
        if isinstance(given, dict) and len(given) > MANY_MEMBERS:
            raise ValueError(f"Object should have at most {MANY_MEMBERS} members")
        return given


def _also(**schema: Any) -> ConfigDict:
    """Return the rules of a request whose description in JSON Schema says this too."""
    return ConfigDict(extra="forbid", allow_inf_nan=False, json_schema_extra=schema)


class RecommendedItem(BaseModel):
    """One item."""

    item: str
    score: Annotated[float, Field(ge=0, le=1, description="The model's probability.")]


class _List(BaseModel):
    fallback: Annotated[
        bool,
        Field(description="The user is not known: answered without attributes and history."),
    ]
    items: Annotated[list[RecommendedItem], Field(description="Best first.")]


class Recommendations(_List):
    """The best items for one user."""

    model: Annotated[str, Field(description="Which model answered, as in /v1/model.")]


class ManyRecommendations(BaseModel):
    """The best items for several users, in the order in which they were named."""

    model: str
    answers: list[_List]


class Scores(BaseModel):
    """Probabilities, in the order of the rows or items asked for."""

    model: str
    label: str
    scores: Annotated[
        list[Annotated[float, Field(ge=0, le=1)] | None],
        Field(description="null: an item that the catalogue does not have."),
    ]
    fallback: Annotated[
        bool, Field(description="A user who was named is not known, of one row at least.")
    ]


class FieldFacts(BaseModel):
    """An input of the model."""

    name: str
    kind: str
    source: str
    sensitive: bool
    required: Annotated[bool, Field(description="A row to be scored must name it, be it as null.")]


class ModelFacts(BaseModel):
    """The model in service."""

    model: str
    kind: str
    labels: list[str]
    fields: list[FieldFacts]
    items: Annotated[int | None, Field(description="Of the catalogue; null: it ranks rows.")]
    stored_users: int | None
    bytes_in_memory: int
    verdict: Annotated[
        dict[str, Any] | None, Field(description="Of the pruned model against the full one.")
    ]


class Status(BaseModel):
    """Whether a worker lives, or is ready."""

    status: str


class HiddenCount(BaseModel):
    """How many items no answer holds now."""

    hidden: int


class Reason(BaseModel):
    """Why a request was refused."""

    code: str
    message: str


class Failure(BaseModel):
    """A request that was refused."""

    error: Reason


class Requests(NamedTuple):
    """The forms of requests, as large as a service takes them."""

    recommend: type[BaseModel]
    score: type[BaseModel]
    items: type[BaseModel]


def requests(most: Most) -> Requests:
    """Return the forms of requests under a service's bounds."""
    Named = Annotated[list[Id], Field(fail_fast=True, max_length=most.named)]

    class RecommendRequest(_Request):
        """Whose best items: one of ``user``, ``users`` and ``record``."""

        model_config = _also(oneOf=[{"required": [n]} for n in ("user", "users", "record")])

        user: Annotated[Id | None, Field(description="Id of a stored user.")] = None
        users: Annotated[
            list[Id | None],
            Field(
                fail_fast=True, min_length=1, max_length=most.users, description="Ids of several."
            ),
        ] = ABSENT
        record: Annotated[
            Record,
            Field(description="Columns and histories of a user who is not stored."),
        ] = ABSENT
        k: Annotated[int, Field(ge=1, le=most.k, strict=True), BeforeValidator(_whole)] = 10
        # A new list takes less time than the copy of an empty one that pydantic makes.
        context: Annotated[
            Record,
            Field(
                default_factory=dict,
                description="Columns of the moment; absent ones are not known.",
            ),
        ]
        candidates: Annotated[
            Named | None, Field(description="Items to choose from; those not known are left out.")
        ] = None
        filter: Annotated[
            Filter | None,
            Field(description='Item column → a value, several, or a range "2..5".'),
        ] = None
        deny: Annotated[Named, Field(default_factory=list, description="Items to leave out.")]
        seen: Annotated[
            Named,
            Field(default_factory=list, description="Likewise: items that the user has seen."),
        ]
        exclude_seen: Annotated[
            bool, Field(description="Leave out what is stored as seen, too.", strict=True)
        ] = True
        label: Annotated[Name | None, Field(description="What to rank by, of several.")] = None

        @model_validator(mode="after")
        def _one(self) -> Self:
            if len({"user", "users", "record"} & self.model_fields_set) != 1:
                raise ValueError("give exactly one of user, users and record")
            return self

    class ScoreRequest(_Request):
        """Rows to score, or items for one user: ``rows``, or ``user`` and ``items``."""

        model_config = _also(oneOf=[FOR_ROWS, FOR_ITEMS])

        rows: Annotated[
            list[Record],
            Field(
                fail_fast=True,
                min_length=1,
                max_length=most.rows,
                description="Rows of raw columns. A stored user's columns need not be named.",
            ),
        ] = ABSENT
        user: Annotated[Id | None, Field(description="Id of a stored user.")] = None
        items: Annotated[
            list[Id],
            Field(fail_fast=True, min_length=1, max_length=most.rows, description="For the user."),
        ] = ABSENT
        context: Annotated[Record, Field(description="Columns of the moment, for items.")] = {}
        label: Annotated[Name | None, Field(description="What to score, of several.")] = None
        calibrated: Annotated[
            bool,
            Field(
                strict=True,
                description="Of rows: as if all negatives had been trained on, drawn ones or not.",
            ),
        ] = False

        @model_validator(mode="after")
        def _one(self) -> Self:
            if (self.rows is None) == (self.items is None):
                raise ValueError("give either rows, or user and items")
            if self.items is not None and "user" not in self.model_fields_set:
                raise ValueError("items need a user, null if none is known")
            if self.rows is not None and ("user" in self.model_fields_set or self.context):
                raise ValueError("user and context go with items; rows name them as columns")
            if self.items is not None and self.calibrated:
                raise ValueError("calibrated goes with rows")
            return self

    class ItemsRequest(_Request):
        """Items to hide, or to show again."""

        items: Annotated[list[Id], Field(fail_fast=True, min_length=1, max_length=most.named)]

    return Requests(RecommendRequest, ScoreRequest, ItemsRequest)
