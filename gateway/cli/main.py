"""`wa`: the service from a terminal."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import structlog
import typer

from gateway.cli import draining, key_commands, listing, programs, why
from gateway.cli import link as linking
from gateway.cli import tail as tailing
from gateway.cli import top as watching
from gateway.cli.service import CannotDo, broker_and_redis
from gateway.cli.terminal import options, out, plain, service

app = typer.Typer(
    name="wa",
    help="WhatsApp sessions from a terminal. Finds the service that `make up` runs "
    "through its data folder (DATA_DIR); --url and --api-key name another one.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(key_commands.app, name="keys")


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
            show=plain,
        )
    )


@app.command()
def sessions(
    user: Annotated[str | None, typer.Option(help="Of one user.")] = None,
    status: Annotated[str | None, typer.Option(help="In one state, such as ready.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List the sessions and their states."""
    listing.sessions(service(), user, status, as_json=as_json)


@app.command("why")
def why_is(
    session: Annotated[str, typer.Argument(help="The id of a session.")],
    at: Annotated[str | None, typer.Option(help="At another moment: 10m (ago), or a time.")] = None,
    events: Annotated[int, typer.Option(min=0, max=1_000, help="How many are listed.")] = 10,
) -> None:
    """Tell why a session stands as it does, and what led there.

    The log itself is read, so any moment of its life can be asked for.
    """
    for line in why.told(service(), session, at, events):
        plain(line)


@app.command()
def top(
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 2,
) -> None:
    """Watch sessions, rates and breakers until Ctrl-C; in a pipe, one table and the end."""
    watching.top(service(), out, interval)


@app.command()
def breakers(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List the circuit breakers: sessions, their pages, nodes; what is open comes first."""
    listing.breakers(service(), as_json=as_json)


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
    there = service()
    if bot is None:
        user, bot = linking.pair_of(there, user)
    linking.link(there, user, bot, patience=timeout, say=out.print, show=_draw, phone=phone)


def _draw(code: str) -> None:
    # The last code is worth nothing any more: on a terminal it makes room.
    if out.is_terminal:
        out.clear()
    plain(code)


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
    there = service()
    headers = {"Idempotency-Key": key} if key else {}
    body = {"sessionId": session, "to": to, "message": text}
    with there.http() as http:
        answer = there.call(http, "POST", "/api/messages/send", json=body, headers=headers)
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
    handed = draining.drain(service(), node, timeout)
    out.print(f"{node} is empty: {handed} sessions were handed over")


@app.command()
def rebuild() -> None:
    """Build the read models in Redis anew from the log; readers go on meanwhile."""
    # Imported here, so that other commands need not wait for it.
    from gateway.cli import rebuilding

    count = asyncio.run(rebuilding.run())
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
