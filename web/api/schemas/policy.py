"""Policies: documents as people write them, and what Warren reads in them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, WithJsonSchema
from pydantic.json_schema import SkipJsonSchema

from controller.calc.documents import KINDS, Refused, read
from db.policies import SORTS
from web.api.schemas.common import (
    LABEL,
    SUBDOMAIN,
    AboutTenants,
    Contract,
    Moment,
    Name,
    Page,
    Revision,
    TextQuery,
    Version,
    example,
    plain,
    sorting,
)
from web.api.schemas.isolation import Applied

MOST_DOCUMENTS = 1000
DEEPEST_DOCUMENT = 32

EXAMPLE = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "db-lockdown", "namespace": "acme"},
    "spec": {
        "podSelector": {"matchLabels": {"app": "db"}},
        "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "web"}}}], "ports": [{"port": 5432}]}],
    },
}


def _plain(document: dict[str, Any]) -> Any:
    return plain(document, DEEPEST_DOCUMENT)


# What a document may hold is said by its own specification; here is told what all have.
Document = Annotated[
    dict[str, Any],
    AfterValidator(_plain),
    WithJsonSchema(
        {
            "type": "object",
            "required": ["apiVersion", "kind", "metadata"],
            "properties": {
                "apiVersion": {"enum": list(KINDS.values())},
                "kind": {"enum": list(KINDS)},
                "metadata": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {
                        "name": {"type": "string", "pattern": f"^{SUBDOMAIN}$", "maxLength": 253},
                        "namespace": {"type": "string", "pattern": f"^{LABEL}$", "maxLength": 63},
                    },
                },
                "spec": {"type": "object"},
            },
            "examples": [EXAMPLE],
        }
    ),
]
PolicyName = Annotated[
    str,
    WithJsonSchema(
        {
            "type": "string",
            "pattern": f"^({LABEL}/)?{SUBDOMAIN}$",
            "maxLength": 317,
            "examples": ["acme/db-lockdown", "no-metadata-service"],
        }
    ),
]
Rules = Annotated[int | None, Field(description="How many rules; null: it says nothing about this direction.")]


class PolicyDocuments(AboutTenants):
    """Policies to create, or to replace where one of the name is there. All of them, or none."""

    model_config = ConfigDict(json_schema_extra=example({"documents": [EXAMPLE]}))

    documents: list[Document] = Field(min_length=1, max_length=MOST_DOCUMENTS)

    def tenants(self) -> Iterator[str]:
        for document in self.documents:
            # What cannot be read is refused with all the others.
            with suppress(Refused):
                yield read(document).tenant


class PolicyQuery(TextQuery):
    sort: str | SkipJsonSchema[None] = sorting(SORTS)
    kind: Literal[tuple(KINDS)] | SkipJsonSchema[None] = Field(  # type: ignore[valid-type]
        None, description="Only documents of this kind."
    )
    tenant: Name | SkipJsonSchema[None] = Field(None, description="Only this tenant's.")


class Policy(Contract):
    """A document, and what it says in short."""

    name: PolicyName = Field(description="`TENANT/NAME`, or the name alone of one of the cluster's.")
    tenant: Name | None = Field(description="Null: the cluster's.")
    kind: Literal[tuple(KINDS)]  # type: ignore[valid-type]
    tier: Literal["admin", "tenant", "baseline", "firewall"] = Field(
        description="In the order in which they are asked."
    )
    priority: int | None = Field(description="Lower is asked first; null in tiers without an order.")
    subject: str = Field(description="Whom it selects, in words.", examples=["endpoints app=db"])
    ingress: Rules
    egress: Rules
    document: Document = Field(description="The document as it was given.")
    version: Version
    revision: Revision
    created_at: Moment


class PolicyPage(Page):
    items: list[Policy]


class AppliedPolicies(Applied):
    """The policies after a request, in its order, and where the change is live."""

    policies: list[Policy]
    revision: Revision
