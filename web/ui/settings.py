"""Settings: people and what they may do, tokens, quotas, what holds for the whole cluster, and how to back it up."""

from __future__ import annotations

from datetime import UTC, datetime

from flask import Response, url_for

from db import bindings, groups, quotas, records, settings, tenants, tokens, transport, users
from web import present
from web.api import isolation as api_isolation
from web.api import people as api_people
from web.api import tokens as api_tokens
from web.api.replies import Json
from web.api.schemas.isolation import ClusterChange
from web.api.schemas.people import BindingCreate, GroupCreate, NewPassword, UserCreate
from web.api.schemas.token import TokenCreate
from web.auth.access import CHANGERS, READERS, SIGHT, TENANT_ADMINS, allow, sight
from web.state import reading, state
from web.ui.forms import (
    BOTH,
    Change,
    Field,
    Values,
    Work,
    body,
    carried_out,
    in_lines,
    may,
    number,
    pairs,
    seen_version,
)
from web.ui.frame import blueprint, render
from web.ui.tenants import others

SHOWN = 200
ROLES = (("viewer", "viewer"), ("operator", "operator (in a tenant)"), ("admin", "admin"))
MODES = (("multitenant", "Apart, unless joined, peered or global"), ("flat", "Flat: all reach all"))


@blueprint.get("/settings", endpoint="settings")
@allow(TENANT_ADMINS | READERS, by=SIGHT)
def shown() -> str:
    """What somebody may see of it; a tenant's admins see roles and tokens of their tenant."""
    whole = sight() is None
    with reading() as session:
        found: Json = {"roles": present.bindings(session, bindings.find(session, limit=SHOWN).items)}
        if may("new_token"):
            found["tokens"] = [present.token(row) for row in tokens.find(session, limit=SHOWN).items]
        if whole:
            found["users"] = present.users(session, users.find(session, limit=SHOWN).items)
            found["groups"] = present.groups(session, groups.find(session, limit=SHOWN).items)
            found["mode"] = settings.isolation(session).mode
            found["domain"], found["tunnel_ports"] = records.settings(session).domain, transport.udp_ports(session)
            found["provider"] = provider.settings if (provider := state().provider) else None
        rows = [row for row in tenants.find(session, limit=SHOWN).items if row.quota]
        found["quotas"] = [
            (
                row.name,
                [
                    (noun, quotas.used(session, row.id, noun), most)
                    for noun, most in row.quota.items()
                    if noun in quotas.COUNTED
                ],
                row.quota.get("bandwidth"),
            )
            for row in rows
        ]
    return render("settings.html", "Settings", **found, now=datetime.now(UTC))


def _work(title: str, lead: str, verb: str, *fields: Field, danger: bool = False) -> Work:
    return Work("Settings", title, lead, verb, "/settings", "Settings", fields, danger=danger)


NAME = Field("name", "Name", required=True)
PASSWORD = Field("password", "Password", "password", "At least 8 characters.")


@blueprint.route("/new/user", methods=BOTH)
@allow(CHANGERS)
def new_user() -> Response | str:
    work = _work("New user", "The user may do nothing yet: give a role next.", "Create", NAME, PASSWORD)

    def make(values: Values) -> Change:
        wanted = body(UserCreate, name=values["name"], password=values["password"] or None)
        return lambda tx: present.user(tx.session, users.create(tx, wanted.name, wanted.password))

    return carried_out(work, make, previewed=False, onward=lambda values, made: f"/new/role?user={values['name']}")


@blueprint.route("/users/<user>/password", methods=BOTH)
@allow(CHANGERS)
def new_password(user: str) -> Response | str:
    _known(user)
    lead = "Whoever is logged in as that user is logged out. Tokens stay."
    work = _work(f"New password for {user}", lead, "Set", PASSWORD._replace(required=True))

    def make(values: Values) -> Change:
        wanted = body(NewPassword, password=values["password"])
        return lambda tx: api_people.with_password(tx, user, wanted)

    return carried_out(work, make, previewed=False)


@blueprint.route("/users/<user>/delete", methods=BOTH)
@allow(CHANGERS)
def delete_user(user: str) -> Response | str:
    _known(user)
    work = _work(f"Delete {user}", "This cannot be undone.", "Delete", danger=True)
    work = work._replace(breaks=["Its sessions end, its tokens stop working, and its roles go."])
    return carried_out(work, lambda values: lambda tx: users.delete(tx, user), previewed=False)


def _known(user: str) -> None:
    with reading() as session:
        users.get(session, user)


@blueprint.route("/new/group", methods=BOTH)
@allow(CHANGERS)
def new_group() -> Response | str:
    work = _work("New group", "Its members have the group's roles.", "Create", NAME)

    def make(values: Values) -> Change:
        wanted = body(GroupCreate, name=values["name"])
        return lambda tx: present.group(groups.create(tx, wanted.name))

    return carried_out(work, make, previewed=False)


@blueprint.route("/groups/<group>/members", methods=BOTH)
@allow(CHANGERS)
def add_member(group: str) -> Response | str:
    with reading() as session:
        inside = {member.name for member in groups.get(session, group).members}
        names = [row.name for row in users.find(session, limit=SHOWN).items if row.name not in inside]
    known = Field("user", "User", "suggest", choices=[(name, name) for name in names], required=True)
    work = _work(f"Put somebody into {group}", "They get the group's roles.", "Add", known)
    return carried_out(
        work, lambda values: lambda tx: present.group(groups.add(tx, group, values["user"])), previewed=False
    )


@blueprint.route("/groups/<group>/members/<user>/remove", methods=BOTH)
@allow(CHANGERS)
def remove_member(group: str, user: str) -> Response | str:
    _known(user)
    work = _work(f"Take {user} out of {group}", "They lose the roles that only the group gives them.", "Take out")
    return carried_out(
        work._replace(danger=True),
        lambda values: lambda tx: present.group(groups.remove(tx, group, user)),
        previewed=False,
    )


@blueprint.route("/groups/<group>/delete", methods=BOTH)
@allow(CHANGERS)
def delete_group(group: str) -> Response | str:
    with reading() as session:
        members = [member.name for member in groups.get(session, group).members]
    work = _work(f"Delete group {group}", "This cannot be undone.", "Delete", danger=True)
    lost = [f"{', '.join(members)} lose the roles that only the group gives them."] if members else []
    return carried_out(work._replace(breaks=lost), lambda values: lambda tx: groups.delete(tx, group), previewed=False)


@blueprint.route("/new/role", methods=BOTH)
@allow(TENANT_ADMINS, by=SIGHT)
def new_role() -> Response | str:
    work = _work(
        "Give a role",
        "To a user or to a group. It replaces the role that they have in that tenant, or in the cluster.",
        "Give",
        Field("user", "User"),
        Field("group", "Group"),
        Field("role", "Role", "select", choices=ROLES),
        _tenant("Empty: in the whole cluster." if sight() is None else ""),
    )

    def make(values: Values) -> Change:
        wanted = body(
            BindingCreate,
            role=values["role"],
            user=values["user"] or None,
            group=values["group"] or None,
            tenant=values["tenant"] or None,
        )
        return lambda tx: present.binding(bindings.grant(tx, **wanted.model_dump()))

    return carried_out(work, make, previewed=False)


def _tenant(hint: str) -> Field:
    return Field("tenant", "Tenant", "suggest", hint, others(), required=sight() is not None)


@blueprint.route("/roles/<int:binding>/revoke", methods=BOTH)
@allow(TENANT_ADMINS, by=SIGHT)
def revoke_role(binding: int) -> Response | str:
    with reading() as session:
        row = api_people.get_binding(session, binding)
        item, members = present.binding(row), [member.name for member in row.group.members] if row.group else []
    who, where = item["user"] or f"group {item['group']}", item["tenant"] or "the whole cluster"
    lead = f"{who} is {item['role']} in {where}. It takes effect with the next request."
    losing = f"{who}, with {', '.join(members)} in it," if members else who
    work = _work(f"Take a role away from {who}", lead, "Take away", danger=True)
    work = work._replace(breaks=[f"{losing} may no longer do in {where} what no other role allows."])
    return carried_out(work, lambda values: lambda tx: api_people.revoked(tx, binding), previewed=False)


@blueprint.route("/new/token", methods=BOTH)
@allow(TENANT_ADMINS, by=SIGHT)
def new_token() -> Response | str:
    whole = sight() is None
    cni = [("cni", "cni (a machine's)")] if whole else []
    host = [Field("host", "Host", hint="Limits it to one host; for the role cni.")] if whole else []
    work = _work(
        "New token",
        "For a program. It can do no more than you can, and is shown once.",
        "Create",
        Field("name", "Name", hint="What it is for.", required=True),
        Field("role", "Role", "select", choices=[*ROLES, *cni]),
        _tenant("Limits it to one tenant; needed for the role operator."),
        *host,
        Field("expires_at", "Until", "moment", "Empty: for ever. A day, ending at midnight UTC."),
    )

    def make(values: Values) -> Change:
        until = f"{values['expires_at']}T00:00:00Z" if values["expires_at"] else None
        wanted = body(
            TokenCreate,
            name=values["name"],
            role=values["role"],
            tenant=values["tenant"] or None,
            host=values.get("host") or None,
            expires_at=until,
        )
        return lambda tx: api_tokens.made(tx, wanted)

    return carried_out(
        work, make, previewed=False, shown=lambda made: render("token.html", "Settings", item=made, work=work)
    )


@blueprint.route("/tokens/<int:token>/revoke", methods=BOTH)
@allow(TENANT_ADMINS, by=SIGHT)
def revoke_token(token: int) -> Response | str:
    with reading() as session:
        item = api_tokens.get(session, token)
    owner = f"user {item['user']}" if item["user"] else "nobody"
    reach = item["tenant"] or (f"host {item['host']}" if item["host"] else "the whole cluster")
    lead = f"Its role is {item['role']}, it is {owner}'s, and it reaches {reach}. This cannot be undone."
    work = _work(f"Revoke token {item['name']}", lead, "Revoke", danger=True)._replace(breaks=[_lost_with(item)])
    return carried_out(work, lambda values: lambda tx: api_tokens.revoked(tx, token), previewed=False)


def _lost_with(token: Json) -> str:
    """What ends when a token is revoked."""
    host = token["host"] or "any host"
    match token["role"]:
        case "agent":
            return f"The agent of {host} loses its access: {host} is silent until it is enrolled with a new token."
        case "enrol":
            return f"Nobody enrols {host} with it any more; a new token of {host} is needed for that."
        case "cni":
            return f"No container on {host} is attached or detached with it any more."
    return "Whatever shows it is refused from its next request on."


@blueprint.route("/cluster/isolation", methods=BOTH)
@allow(CHANGERS)
def cluster_isolation() -> Response | str:
    with reading() as session:
        now, ports = settings.isolation(session), transport.udp_ports(session)
    work = _work(
        "Settings for all tenants",
        "Flat lets all routed networks of all tenants reach each other, as far as policies allow it.",
        "Change",
        Field("isolation", "Tenants are", "select", choices=MODES),
        Field(
            "tunnel_ports", "UDP ports of tunnels", "lines", "One a line, like vxlan=4789. All tunnels move at once."
        ),
    )._replace(
        values={"isolation": now.mode, "tunnel_ports": in_lines(ports)},
        version=now.version,
        undo=url_for("ui.cluster_isolation", isolation=now.mode, tunnel_ports=in_lines(ports)),
    )

    def make(values: Values) -> Change:
        said = pairs(values["tunnel_ports"], "tunnel_ports", "vxlan=4789")
        given = {name: number(port) for name, port in said.items()}
        wanted = body(ClusterChange, isolation=values["isolation"], tunnel_ports=given)
        return lambda tx: api_isolation.altered(tx, wanted, seen_version())

    return carried_out(work, make)
