"""`wa`: the service from a terminal."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import structlog
import typer
from pydantic import JsonValue
from rich.console import Console
from rich.table import Table

from events.bar import bar
from events.connection import NoBroker, connect
from events.jetstream_log import JetStreamLog
from events.log import LogError
from events.redis import AWAY
from events.redis import connect as connect_redis
from gateway.cli import draining, programs, tenants, why
from gateway.cli import keys as keeping
from gateway.cli import link as linking
from gateway.cli import tail as tailing
from gateway.cli import top as watching
from gateway.cli.service import CannotDo, Json, Service, broker_and_redis, embedded_nats, find

app = typer.Typer(
    name="wa",
    help="WhatsApp sessions from a terminal. Finds the service that `make up` runs "
    "through its data folder (DATA_DIR); --url and --api-key name another one.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
# No markup: what comes from a session could hold it.
out = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)


@dataclass(slots=True)
class Options:
    """What was said before the command."""

    url: str | None = None
    key: str | None = None


options = Options()


@app.callback()
def begin(
    url: Annotated[str | None, typer.Option(envvar="WA_URL", help="Where the gateway is.")] = None,
    api_key: Annotated[
        str | None,
        typer.Option(envvar="API_KEY", show_envvar=True, help="Key to use instead of the file's."),
    ] = None,
) -> None:
    """Take what holds for every command."""
    options.url, options.key = url, api_key


def _service() -> Service:
    return find(options.url, options.key)


@app.command()
def tail(
    session: Annotated[
        str | None, typer.Option("--session", "-s", help="One session: its id, or USER/BOT.")
    ] = None,
    kinds: Annotated[
        list[str] | None,
        typer.Option("--type", "-t", help="Kinds of events: ready, sent, 'qr_*'. Repeatable."),
    ] = None,
    since: Annotated[
        str, typer.Option(help="Where to begin: 30s, 10m, 2h, 1d; a position; a time.")
    ] = "10m",
    as_json: Annotated[
        bool, typer.Option("--json", help="Whole events, one JSON a line; bodies are in there.")
    ] = False,
    follow: Annotated[bool, typer.Option(help="Go on with what comes.")] = True,
) -> None:
    """Show the log: every event there was since, and every one that comes.

    Reads NATS itself, so it works while the gateway is away.
    """
    begin_at = tailing.since(since)
    wanted = tailing.Wanted(session, tuple(kinds or ()))
    asyncio.run(
        tailing.tail(
            broker_and_redis(),
            begin_at,
            wanted,
            follow=follow,
            as_json=as_json,
            show=_plain,
        )
    )


@app.command()
def sessions(
    user: Annotated[str | None, typer.Option(help="Of one user.")] = None,
    status: Annotated[str | None, typer.Option(help="In one state, such as ready.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List the sessions and their states."""
    service = _service()
    asked = {name: value for name, value in (("userId", user), ("status", status)) if value}
    with service.http() as http:
        rows = _rows(service.call(http, "GET", "/api/sessions", params=asked), "sessions")
    if as_json:
        # Codes to scan are credentials, and a terminal is often recorded.
        _plain(json.dumps([row | {"qr": None, "qrDataUrl": None} for row in rows], indent=2))
        return
    if not rows:
        out.print("No session. Make one: wa link USER BOT")
        return
    table = _table("SESSION", "STATUS", "PHONE", "SENT", "RECEIVED", "LAST ACTIVITY", "WHY")
    for row in rows:
        table.add_row(*_row(row))
    out.print(table)


def _row(row: dict[str, JsonValue]) -> list[str]:
    metrics = row.get("metrics")
    counted = metrics if isinstance(metrics, dict) else {}
    return [
        str(row.get("sessionId")),
        str(row.get("status")),
        str(row.get("phoneNumber") or "").partition("@")[0],
        str(counted.get("messagesSent", "")),
        str(counted.get("messagesReceived", "")),
        _moment(row.get("lastActivity")),
        str(row.get("error") or row.get("reason") or ""),
    ]


@app.command("why")
def why_is(
    session: Annotated[str, typer.Argument(help="The id of a session.")],
    at: Annotated[str | None, typer.Option(help="At another moment: 10m (ago), or a time.")] = None,
    events: Annotated[int, typer.Option(min=0, max=1_000, help="How many are listed.")] = 10,
) -> None:
    """Tell why a session stands as it does, and what led there.

    The log itself is read, so any moment of its life can be asked for.
    """
    for line in why.told(_service(), session, at, events):
        _plain(line)


@app.command()
def top(
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 2,
) -> None:
    """Watch sessions, rates and breakers until Ctrl-C; in a pipe, one table and the end."""
    watching.top(_service(), out, interval)


@app.command()
def breakers(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List the circuit breakers: sessions, their pages, nodes; what is open comes first."""
    service = _service()
    with service.http() as http:
        rows = _rows(service.call(http, "GET", "/api/breakers"), "breakers")
    if as_json:
        _plain(json.dumps(rows, indent=2))
        return
    table = _table("OF", "TYPE", "STATE", "FAILURES", "REJECTED", "NEXT ATTEMPT", "SINCE")
    for row in sorted(rows, key=lambda row: row.get("state") == "closed"):
        table.add_row(
            str(row.get("sessionId") or row.get("node")),
            str(row.get("type")),
            str(row.get("state")),
            f"{row.get('failures')} of {row.get('threshold')}",
            str(row.get("rejected")),
            _moment(row.get("nextAttempt")),
            _moment(row.get("since")),
        )
    out.print(table)


def _rows(answer: Json, name: str) -> list[Json]:
    found = answer.get(name)
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def _table(*names: str) -> Table:
    table = Table(box=None, header_style="dim")
    for name in names:
        table.add_column(name)
    return table


def _moment(at: JsonValue) -> str:
    return str(at or "")[:19].replace("T", " ")


@app.command()
def link(
    user: Annotated[str, typer.Argument(help="The user, or the id of a session that exists.")],
    bot: Annotated[str | None, typer.Argument(help="The user's bot.")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds until giving up.")] = 300,
    phone: Annotated[
        str | None,
        typer.Option(help="Its number: shows a code to type into it, instead of one to scan."),
    ] = None,
) -> None:
    """Link a phone: draws the QR code here, and each new one, until it is scanned.

    `wa link USER BOT` makes the session if there is none; `wa link SESSION`
    takes one that exists. With --phone, the code is one to type.
    """
    service = _service()
    if bot is None:
        user, bot = linking.pair_of(service, user)
    linking.link(service, user, bot, patience=timeout, say=out.print, show=_draw, phone=phone)


def _draw(code: str) -> None:
    # The last code is worth nothing any more: on a terminal it makes room.
    if out.is_terminal:
        out.clear()
    _plain(code)


@app.command()
def send(
    session: Annotated[str, typer.Argument(help="The id of a session.")],
    to: Annotated[str, typer.Argument(help="A phone number with country code, or a chat id.")],
    text: Annotated[str, typer.Argument(help="What to say.")],
    key: Annotated[
        str | None, typer.Option(help="Idempotency key: the same key never sends twice.")
    ] = None,
) -> None:
    """Send a text and say what became of it."""
    service = _service()
    headers = {"Idempotency-Key": key} if key else {}
    body = {"sessionId": session, "to": to, "message": text}
    with service.http() as http:
        answer = service.call(http, "POST", "/api/messages/send", json=body, headers=headers)
    if answer.get("status") == "sent":
        out.print(f"sent: {answer.get('messageId')}")
    else:
        told = answer.get("commandId")
        out.print(f"{answer.get('status')}: {told} (it goes out when the session is ready)")


@app.command()
def drain(
    node: Annotated[str, typer.Argument(help="The node's name, NODE in its settings.")],
    timeout: Annotated[float, typer.Option(help="Seconds until giving up to watch.")] = 600,
) -> None:
    """Empty a node before its machine is taken away: other nodes go on with its sessions.

    It runs on, empty, until it is stopped. A node that is stopped hands over by itself.
    """
    handed = draining.drain(_service(), node, timeout)
    out.print(f"{node} is empty: {handed} sessions were handed over")


keys = typer.Typer(help="API keys: of admins, and of users.", no_args_is_help=True)
app.add_typer(keys, name="keys")


@keys.command("create")
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
    out.print(keeping.create(_service(), name, user, scope, days))


@keys.command("list")
def list_keys() -> None:
    """List the keys; the first admin key, which is in no list, is not among them."""
    out.print(keeping.table(_service()))


@keys.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `wa keys list` shows it.")],
) -> None:
    """Make a key worth nothing."""
    out.print(f"revoked: {keeping.revoke(_service(), key_id)}")


@keys.command("nats")
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
        _plain(f"{shown}\n")
    out.print(again)


@app.command()
def rebuild() -> None:
    """Build the read models in Redis anew from the log; readers go on meanwhile."""
    asyncio.run(_rebuild())


async def _rebuild() -> None:
    from projections import rebuild as rebuilding

    settings = broker_and_redis()
    try:
        client = await connect(settings, "ops", name="wa-rebuild", patience=5)
    except NoBroker as error:
        raise CannotDo(f"{error}. Is the service running? Else set NATS_URL") from None
    redis = connect_redis(settings)
    try:
        with bar("rebuild") as advance:
            log = JetStreamLog(client.jetstream())
            count = await rebuilding.rebuild(log, redis, settings, advance)
    except rebuilding.RebuildFailed as error:
        raise CannotDo(f"{error}; the read models are as they were") from None
    except AWAY as error:
        raise CannotDo(f"Redis: {error}; the read models are as they were") from None
    except LogError as error:
        raise CannotDo(f"the log: {error}; the read models are as they were") from None
    finally:
        await redis.aclose()
        await client.close()
    out.print(f"{count} events read; the read models are new.")


@app.command(
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def vault(context: typer.Context) -> None:
    """List, verify, carry and re-key the snapshots that lost links are restored from."""
    raise typer.Exit(programs.run("actors.vault", context.args))


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="A file that is not there yet.")],
) -> None:
    """Write the log, the keys and the vault to one file; the service may go on.

    The file holds keys and what people wrote: keep it as a secret.
    """
    raise typer.Exit(_backup_program("backup", str(file)))


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A file that `wa backup` made.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="What is there gives way to the backup.")
    ] = False,
) -> None:
    """Bring a backup back, with every part of the service stopped.

    All of the file is verified before anything is changed.
    """
    raise typer.Exit(_backup_program("restore", str(file), *(["--replace"] if replace else [])))


def _backup_program(*arguments: str) -> int:
    # As the node: operations may not write, and who brings a log back writes all of it.
    return programs.run("actors.backup", [*arguments], broker_as="node")


@app.command()
def doctor() -> None:
    """Look what is missing on this machine, and how to mend it."""
    from gateway.cli import doctor as examining

    raise typer.Exit(examining.run())


def _plain(text: str) -> None:
    print(text, flush=True)


def main() -> None:
    """Run `wa`."""
    # What we have to say we say in plain lines; logs of the parts would be noise in pipes.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        app()
    except CannotDo as error:
        print(f"wa: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # `wa tail | head`: nobody listens any more, and Python would complain at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


if __name__ == "__main__":
    main()
