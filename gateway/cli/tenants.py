"""`wa keys nats`: users at NATS for the services of tenants."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import secrets
import signal
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import nats
import psutil
from nats import errors as nats_errors
from nats.js import errors as js_errors

from events import subjects
from events.connection import AWAY
from events.private import write_private
from events.subjects import BadToken
from gateway.cli.service import CannotDo, Embedded, Json
from gateway.tenants import account, account_of, login_of

PATIENCE = 10.0
"""Seconds that a server may take until it has taken up its new configuration."""

PAUSE = 0.05

ANOTHER_STREAM = 10060
"""The server's word for a message that names a stream which does not take it."""

Reach = Literal["away", "refused", "in", "through"]
"""How far a login gets: not to the server, not in, in, or through to the commands."""


@dataclass(frozen=True, slots=True)
class Given:
    """A user that works now. `renewed`: there was one, whose password is worth nothing any more."""

    login: str
    password: str
    renewed: bool


def give(server: Embedded, user: str) -> Given:
    """Make a tenant's user, or give it another password; raises CannotDo."""
    name, login, password = _account_of(user), login_of(user), secrets.token_urlsafe(32)
    with _accounts(server.tenants) as held:
        renewed = name in held
        held[name] = account(user, password)
    _reload(server)
    _until(server, user, password, "in", "through")
    # Once more: nats-server 2.15.1 lets a new account in and leaves its imports deaf
    # until it reads its configuration the next time (measured).
    _reload(server)
    _until(server, user, password, "through")
    return Given(login, password, renewed)


def take(server: Embedded, user: str) -> str:
    """Take a tenant's user away and return its name; raises CannotDo."""
    name, login = _account_of(user), login_of(user)
    with _accounts(server.tenants) as held:
        was = held.pop(name, None)
    if was is None:
        raise CannotDo(f"{user} has no user at NATS: `wa keys nats {user}` would make one")
    _reload(server)
    _until(server, user, _password(was), "refused")
    return login


def fragment(user: str) -> str:
    """Write a new account as a NATS of somebody else reads it; raises CannotDo."""
    name = _account_of(user)
    held = json.dumps(account(user, secrets.token_urlsafe(32)), indent=4)
    return f"{name}: {held}"


def block(user: str) -> str:
    """Name the account of a user, which somebody else's configuration holds; raises CannotDo."""
    return _account_of(user)


def _account_of(user: str) -> str:
    try:
        return account_of(user)
    except BadToken as error:
        raise CannotDo(f"{user!r} is no id of a user: {error}") from None


@contextmanager
def _accounts(file: Path) -> Generator[Json]:
    """Give the accounts there are and write them back, one command after the other."""
    try:
        with file.with_name(f".{file.name}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            held = cast("Json", json.loads(file.read_text()))
            yield held
            write_private(file, json.dumps(held, indent=4))
    except ValueError as error:
        raise CannotDo(
            f"{file} is not as this command wrote it ({error}): mend it, or remove all "
            "tenants with `{}` and make them anew"
        ) from None
    except OSError as error:
        raise CannotDo(f"{file}: {error.strerror}; it belongs to who runs the service") from None


def _reload(server: Embedded) -> None:
    """Have the server that `up` runs read its configuration again; raises CannotDo."""
    conf = str(server.tenants.with_name("nats.conf"))
    try:
        for child in psutil.Process(server.up).children():
            if conf in child.cmdline():
                os.kill(child.pid, signal.SIGHUP)
                return
    except (psutil.Error, ProcessLookupError):
        pass
    except PermissionError:
        raise CannotDo("nats-server belongs to somebody else: run this as who runs it") from None
    raise CannotDo("nats-server is not there at the moment; what was asked holds when it is back")


def _until(server: Embedded, user: str, password: str, *wanted: Reach) -> None:
    """Wait until a tenant's user gets as far as wanted; raises CannotDo."""

    async def wait() -> None:
        async with asyncio.timeout(PATIENCE):
            while True:
                if await _reach(server.url, user, password) in wanted:
                    return
                await asyncio.sleep(PAUSE)

    try:
        asyncio.run(wait())
    except TimeoutError:
        raise CannotDo(
            f"nats-server did not take up {server.tenants} within {PATIENCE:g} s: look at what "
            "`make up` says of it; the next start reads the file in any case"
        ) from None


async def _reach(url: str, user: str, password: str) -> Reach:
    """Try how far a tenant's user gets. Nothing comes of it."""

    async def unheard(_: Exception) -> None:
        pass

    login = login_of(user)
    try:
        client = await nats.connect(
            url, user=login, password=password, allow_reconnect=False, error_cb=unheard
        )
    except nats_errors.Error as error:
        return "refused" if "authorization" in str(error).lower() else "away"
    except (OSError, TimeoutError):
        return "away"
    try:
        # For a stream that there is not: who gets through hears that the stream is another.
        command = subjects.create_command(user)
        await client.jetstream(timeout=1).publish(command, b"", stream="none")
    except js_errors.APIError as error:
        return "through" if error.err_code == ANOTHER_STREAM else "in"
    except AWAY:
        return "in"
    finally:
        await client.close()
    return "in"


def _password(held: object) -> str:
    users = cast("dict[str, list[dict[str, str]]]", held)["users"]
    return users[0]["password"]
