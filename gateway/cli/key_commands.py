"""`wa keys`: its commands."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli import keys as keeping
from gateway.cli import tenants
from gateway.cli.service import embedded_nats
from gateway.cli.terminal import out, plain, service

app = typer.Typer(help="API keys: of admins, and of users.", no_args_is_help=True)


@app.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="Whose key it is, for people.")],
    user: Annotated[
        str | None, typer.Option(help="The user it belongs to; without one it is an admin's.")
    ] = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="read, send or manage; repeatable. Else all three.")
    ] = None,
    days: Annotated[float | None, typer.Option(help="Worth nothing after as many days.")] = None,
) -> None:
    """Make a key and show it, once."""
    out.print(keeping.create(service(), name, user, scope, days))


@app.command("list")
def list_keys() -> None:
    """List the keys; the first admin key, which is in no list, is not among them."""
    out.print(keeping.table(service()))


@app.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `wa keys list` shows it.")],
) -> None:
    """Make a key worth nothing."""
    out.print(f"revoked: {keeping.revoke(service(), key_id)}")


@app.command("nats")
def nats_user(
    user: Annotated[str, typer.Argument(help="The user whose sessions it reaches.")],
    remove: Annotated[bool, typer.Option("--remove", help="Take it away.")] = False,
) -> None:
    """Make a user at NATS for a tenant's own service, and show its password, once.

    It commands and hears the sessions of USER and nobody else's. The same again
    renews the password: who is connected with the earlier one is cut.
    """
    server = embedded_nats()
    if server is None:
        _tell_fragment(user, remove=remove)
    elif remove:
        out.print(f"removed: {tenants.take(server, user)}")
    else:
        given = tenants.give(server, user)
        out.print("renewed; the earlier password is worth nothing now" if given.renewed else "made")
        out.print(f"server:   {server.url}\nuser:     {given.login}\npassword: {given.password}")


def _tell_fragment(user: str, *, remove: bool) -> None:
    """Say what to type where NATS is not ours to configure."""
    # Twice, for the reason that gateway/cli/tenants.py tells.
    again = "Then have it read that, twice: nats-server --signal reload=PID (of your nats-server)"
    if remove:
        out.print(f"Take the block {tenants.block(user)} out of your nats-server's accounts.")
    else:
        shown = tenants.fragment(user)
        out.print("Put this among the accounts of your nats-server, in place of an earlier one:\n")
        plain(f"{shown}\n")
    out.print(again)
