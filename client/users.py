"""`warren user` and `warren group`: people, and those who may do the same."""

from __future__ import annotations

from typing import Any

import click

from client import output
from client.change import carry_out, note
from client.change import create as make
from client.context import Context
from client.options import changing, listing, named, printing
from client.output import column

USERS = [column("NAME"), column("ROLE"), column("TENANTS"), column("PASSWORD", "has_password")]
GROUPS = [column("NAME"), column("MEMBERS")]
the_user = named("name", "/users", "USER")
the_group = named("name", "/groups", "GROUP")
member = named("user", "/users", "USER")
new_password = click.option(
    "--password", prompt=True, hide_input=True, confirmation_prompt=True, help="Asked for if not given."
)


@click.group()
def user() -> None:
    """People who log in. What they may do is given by `warren role grant`."""


@user.command()
@click.argument("name", metavar="USER")
@new_password
@changing
@click.pass_obj
def create(context: Context, name: str, password: str) -> None:
    """Create a user, who has no role yet.

    \b
    Example:
      warren user create ada
    """
    said = f"User {name} created; `warren role grant` says what {name} may do."
    make(context, "/users", {"name": name, "password": password}, said, tell=note)


@user.command("list")
@listing("text", orders=("name", "created"))
@click.pass_obj
def list_(context: Context, **asked: Any) -> None:
    """List users and what they may do.

    \b
    Example:
      warren user list
    """
    output.listing(context.output, context.items("/users", asked), USERS, "No user.")


@user.command()
@the_user
@printing
@click.pass_obj
def get(context: Context, name: str) -> None:
    """Show one user, and what it may do by itself and through groups.

    \b
    Example:
      warren user get ada
    """
    output.thing(context.output, context.rest.get(f"/users/{name}").body)


@user.command()
@the_user
@new_password
@changing
@click.pass_obj
def passwd(context: Context, name: str, password: str) -> None:
    """Give a user a new password; whoever is logged in with the old one is logged out.

    \b
    Example:
      warren user passwd ada
    """
    said = f"User {name} has a new password."
    carry_out(context, "PUT", f"/users/{name}/password", {"password": password}, said, tell=note)


@user.command()
@the_user
@changing
@click.pass_obj
def delete(context: Context, name: str) -> None:
    """Delete a user, with its sessions, tokens and roles.

    \b
    Example:
      warren user delete ada
    """
    carry_out(context, "DELETE", f"/users/{name}", None, f"User {name} deleted.", tell=note)


@click.group()
def group() -> None:
    """Groups of users, who have the group's roles."""


@group.command("create")
@click.argument("name", metavar="GROUP")
@changing
@click.pass_obj
def create_group(context: Context, name: str) -> None:
    """Create a group.

    \b
    Example:
      warren group create shop-team
    """
    make(context, "/groups", {"name": name}, f"Group {name} created.", tell=note)


@group.command("list")
@listing("text", orders=("name", "created"))
@click.pass_obj
def list_groups(context: Context, **asked: Any) -> None:
    """List groups and their members.

    \b
    Example:
      warren group list
    """
    output.listing(context.output, context.items("/groups", asked), GROUPS, "No group.")


@group.command()
@the_group
@printing
@click.pass_obj
def show(context: Context, name: str) -> None:
    """Show one group.

    \b
    Example:
      warren group show shop-team
    """
    output.thing(context.output, context.rest.get(f"/groups/{name}").body)


@group.command()
@the_group
@member
@changing
@click.pass_obj
def add(context: Context, name: str, user: str) -> None:
    """Put a user into a group.

    \b
    Example:
      warren group add shop-team ada
    """
    said = f"User {user} is in group {name}."
    carry_out(context, "PUT", f"/groups/{name}/members/{user}", None, said, tell=note)


@group.command()
@the_group
@member
@changing
@click.pass_obj
def remove(context: Context, name: str, user: str) -> None:
    """Take a user out of a group.

    \b
    Example:
      warren group remove shop-team ada
    """
    said = f"User {user} is not in group {name} any more."
    carry_out(context, "DELETE", f"/groups/{name}/members/{user}", None, said, tell=note)


@group.command("delete")
@the_group
@changing
@click.pass_obj
def delete_group(context: Context, name: str) -> None:
    """Delete a group, with its roles.

    \b
    Example:
      warren group delete shop-team
    """
    carry_out(context, "DELETE", f"/groups/{name}", None, f"Group {name} deleted.", tell=note)
