"""Types that many nouns share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic.json_schema import GenerateJsonSchema, SkipJsonSchema

from db.pages import Sort, orders

LABEL = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
LABEL_WORD = "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
PREFIX = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*"
SUBDOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
MOST_PER_PAGE = 1000
LONGEST_WAIT_SECONDS = 60.0
DEEPEST = 8
LARGEST = 2**63 - 1

# The rule for names lives in the database, which also finds the words; here it is only told to readers.
Name = Annotated[
    str, WithJsonSchema({"type": "string", "pattern": f"^{LABEL}$", "maxLength": 63, "examples": ["acme"]})
]
QualifiedName = Annotated[
    str,
    WithJsonSchema({"type": "string", "pattern": f"^{LABEL}/{LABEL}$", "maxLength": 127, "examples": ["acme/web"]}),
]
LabelKey = Annotated[str, WithJsonSchema({"type": "string", "pattern": f"^({PREFIX}/)?{LABEL_WORD}$"})]
LabelValue = Annotated[str, WithJsonSchema({"type": "string", "pattern": f"^({LABEL_WORD})?$"})]
Labels = Annotated[
    dict[LabelKey, LabelValue],
    Field(max_length=64, description="Labels, with the syntax of Kubernetes labels.", examples=[{"app": "web"}]),
]
LabelChanges = Annotated[
    dict[LabelKey, LabelValue | None],
    Field(
        max_length=64,
        description="Labels to set; null takes one away. Labels that are not named stay.",
        examples=[{"app": "web", "old": None}],
    ),
]
LabelFilter = Annotated[
    str,
    WithJsonSchema(
        {"type": "string", "pattern": f"^({PREFIX}/)?{LABEL_WORD}=({LABEL_WORD})?$", "examples": ["app=web"]}
    ),
]


def plain(value: Any, deepest: int = DEEPEST, depth: int = 0) -> Any:
    """What any JSON reader and any database takes: finite numbers of 64 bits, and not nested without end."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("holds a number that is none; send a finite one")
    if isinstance(value, int) and not -LARGEST <= value <= LARGEST:
        raise ValueError("holds a number of more than 64 bits; send a smaller one")
    if depth > deepest:
        raise ValueError(f"is nested more than {deepest} levels deep; flatten it")
    if isinstance(value, dict):
        for inner in value.values():
            plain(inner, deepest, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            plain(inner, deepest, depth + 1)
    return value


Facts = Annotated[dict[str, Any], Field(max_length=64), AfterValidator(plain)]
Mac = Annotated[str, WithJsonSchema({"type": "string", "examples": ["02:00:0a:14:00:09"]})]
Ip = Annotated[str, WithJsonSchema({"type": "string", "examples": ["10.20.0.9"]})]
Cidr = Annotated[str, WithJsonSchema({"type": "string", "examples": ["10.20.0.0/24"]})]
Interface = Annotated[str, WithJsonSchema({"type": "string", "examples": ["10.20.0.9/24"]})]
Version = Annotated[int, Field(description="Grows with each change of this object; the ETag. For If-Match.")]
Revision = Annotated[
    int,
    Field(description="The revision that includes this. GET /revisions/{n} tells where it is live."),
]


def in_utc(moment: datetime) -> datetime:
    """One without a time zone stays so, for who knows the field to refuse."""
    try:
        return moment.astimezone(UTC) if moment.tzinfo else moment
    except OverflowError:
        raise ValueError("is in UTC not within the years 1 to 9999; give another time") from None


Moment = Annotated[datetime, AfterValidator(in_utc)]
Known = Annotated[int, Field(ge=0, le=2**53)]
"""A revision that a caller says it knows."""


class Schema(GenerateJsonSchema):
    """Without a title per field, which only repeats its name."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


class Contract(BaseModel):
    """Nothing unknown, nothing guessed: `"80"` is not 80."""

    model_config = ConfigDict(extra="forbid", strict=True)


class AboutTenants(Contract):
    """A body that says which tenants it is about, for views whose rule looks there."""

    def tenants(self) -> Iterable[str]:
        """Their names; "" is the cluster."""
        raise NotImplementedError


def owner(qualified: str) -> str:
    """The tenant of `acme/web`; what is no such name gets as far as to the words that say so."""
    return qualified.partition("/")[0]


class Query(BaseModel):
    """Query parameters: text that must read as the type asked for."""

    model_config = ConfigDict(extra="forbid")


class PageQuery(Query):
    limit: int = Field(100, ge=1, le=MOST_PER_PAGE, description="How many items at most.")
    cursor: Annotated[str, Field(max_length=400)] | SkipJsonSchema[None] = Field(
        None, description="`next` of the previous page."
    )


class TextQuery(PageQuery):
    text: Annotated[str, Field(max_length=253)] | SkipJsonSchema[None] = Field(
        None, description="Only items with this text in their name, or in an address or range."
    )


class LabelledQuery(TextQuery):
    label: list[LabelFilter] = Field(
        [], max_length=16, description="Only items with this label, `key=value`; may be given several times."
    )


def sorting(sorts: Mapping[str, Sort], own: str = "name") -> Any:
    """The field `sort` of a list that has these orders besides its own."""
    text = f"What comes first, `{own}` if not said; with `-` before it, what comes last. Among equals `{own}` decides."
    return Field(None, description=text, json_schema_extra={"enum": orders(sorts, own)})


class WaitQuery(Query):
    wait: float = Field(
        0, ge=0, le=LONGEST_WAIT_SECONDS, description="Seconds to wait for an answer that differs from what is known."
    )


class Page(Contract):
    next: str | None = Field(description="Cursor of the next page; null on the last one.", examples=[None])


class Deleted(Contract):
    """What was asked for is gone."""

    revision: Revision


class ProblemDocument(BaseModel):
    """RFC 9457. `detail` is a sentence for people that names the value and the remedy."""

    model_config = ConfigDict(title="Problem")

    type: str = Field(examples=["/problems/not-found"])
    title: str = Field(examples=["Not found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["There is no tenant 'acme'; create it with `warren tenant create acme`."])
    instance: str = Field(examples=["/api/v1/tenants/acme"])
    errors: list[FieldError] = Field([], description="What is wrong, field by field.")


class FieldError(BaseModel):
    field: str = Field(examples=["name"])
    message: str


ProblemDocument.model_rebuild()


def example(value: dict[str, Any]) -> dict[str, Any]:
    """For `json_schema_extra`: the example that the description shows."""
    return {"examples": [value]}
