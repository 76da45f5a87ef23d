"""The whole service on one machine: `python -m actors.up`.

Starts NATS and Redis (unless `NATS_URL` and `REDIS_URL` name others), then a
node, the projections and the gateway; starts again what dies; stops all of it,
in order, on Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import fcntl
import json
import logging
import os
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable, Generator, Iterator
from pathlib import Path

import httpx
import structlog
from pydantic import SecretStr

from actors.machine import servers
from actors.machine.part import DidNotStart, Part, Recipe, call_off
from actors.machine.ports import InUse, claim
from actors.machine.secrets import Passwords, passwords
from events import subjects
from events.private import write_private
from events.settings import BadSettings, Role, Settings, load

EPILOG = """\
Configured by environment variables (or a .env file); the README lists them all.
  PORT=3001           the gateway's port; 0 takes a free one
  DATA_DIR=data       what is kept lies in its live/ (or sandbox/) folder
  NATS_URL=...        a NATS of yours instead of an embedded one
  REDIS_URL=...       a Redis of yours instead of an embedded one
  SANDBOX_URL=...     a simulated WhatsApp on this machine; `make demo` brings one

While it runs, DATA_DIR/live/up.json says where everything is.
"""

NEEDED_DISK = 200_000_000
"""Bytes without which there is no point in starting."""

Ready = Callable[[], Awaitable[None]]

PATIENCE = 5.0
"""Seconds that a NATS or Redis of somebody else may take to answer."""

ROLES: dict[str, Role] = {"node": "node", "projections": "projector", "gateway": "gateway"}


class CannotStart(Exception):
    """Something is in the way, and it says what and how to mend it."""


def main(arguments: list[str] | None = None) -> int:
    """Run until told to stop; return an exit status."""
    argparse.ArgumentParser(
        prog="python -m actors.up",
        description="Run the whole service on this machine.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args(arguments)
    # What we have to say we say in plain lines; the libraries' own log would be noise.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        settings = load()
        with alone(settings.home) as home:
            return asyncio.run(Machine(settings, home).run())
    except (BadSettings, CannotStart, DidNotStart, InUse) as error:
        print(f"up: {error}", file=sys.stderr)
    except OSError as error:
        print(f"up: {explain(error)}", file=sys.stderr)
    return 1


@contextlib.contextmanager
def alone(home: Path) -> Generator[Path]:
    """Hold the data folder: two services on it would undo each other. Raises CannotStart."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if shutil.disk_usage(home).free < NEEDED_DISK:
        raise CannotStart(f"{home}: less than {NEEDED_DISK // 10**6} MB free on this disk")
    with (home / "up.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            owner = lock.read().strip() or "another process"
            raise CannotStart(
                f"{home} is in use by {owner}: stop that one, or set DATA_DIR to another folder"
            ) from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()}")
        lock.flush()
        yield home


class Machine:
    """The parts, in the order in which they need each other."""

    def __init__(self, settings: Settings, home: Path) -> None:
        self._home = home
        self._note = home / "up.json"
        self._passwords = passwords(home / "secrets.json")
        self._settings = addressed(settings, self._passwords)
        self._embedded_nats = settings.nats_url is None
        self._embedded_redis = not settings.outside_redis
        self._parts: list[Part] = []
        self._keeping: set[asyncio.Task[None]] = set()

    async def run(self) -> int:
        """Start, keep and stop everything."""
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()

        def told() -> None:
            # Told twice, somebody is in a hurry.
            if stop.is_set():
                for part in self._parts:
                    part.kill()
            stop.set()

        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, told)
        self._note.unlink(missing_ok=True)
        starting = asyncio.create_task(self._start())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                await stopping
        finally:
            say("up", "stopping")
            await call_off(starting, stopping)
            await self._stop()
        say("up", "stopped")
        return 0

    async def _start(self) -> None:
        began = asyncio.get_running_loop().time()
        await self._check_others()
        for recipe in self._recipes():
            part = Part(recipe, say)
            self._parts.append(part)
            took = await part.start()
            self._keeping.add(asyncio.create_task(part.keep()))
            say(recipe.name, f"up in {took:.1f} s")
        write_private(self._note, json.dumps(self._where(), indent=2))
        took = asyncio.get_running_loop().time() - began
        say("up", f"READY in {took:.1f} s: {self._gateway}")
        say("up", f"key: {self._key()}; stop with Ctrl-C")

    async def _check_others(self) -> None:
        """See that a NATS or Redis that is not ours answers. Raises CannotStart."""
        if not self._embedded_nats:
            answer = servers.until_streams(self._as("node"))
            await _within(answer, f"NATS at {_bare(self._settings)}", "NATS_URL, NATS_PASSWORD")
        if not self._embedded_redis:
            where = f"Redis at {self._settings.redis}"
            answer = servers.until_pong(self._settings)
            await _within(answer, where, "REDIS_URL, REDIS_HOST, REDIS_PORT, REDIS_PASSWORD")

    async def _stop(self) -> None:
        self._note.unlink(missing_ok=True)
        await call_off(*self._keeping)
        # Who asks ends before who answers: the gateway first, then the node,
        # which closes its browsers, and what they talk to last.
        order = ["gateway", "node", "projections", "redis", "nats"]
        for part in sorted(self._parts, key=lambda part: order.index(part.name)):
            await part.stop()

    def _recipes(self) -> Iterator[Recipe]:
        if self._embedded_nats:
            yield servers.nats(self._settings, self._home / "nats", self._passwords)
        if self._embedded_redis:
            yield servers.redis(self._settings, self._home / "redis", self._passwords.redis)

        node = self._as("node")
        declared = (subjects.EVENTS, subjects.COMMANDS, subjects.DEAD, f"KV_{subjects.HOOKS}")
        yield self._ours(
            "node", "actors", lambda: servers.until_streams(node, *declared), stop_within=40
        )
        yield self._ours("projections", "projections", at_once)
        yield self._ours("gateway", "gateway", self._until_gateway_answers)

    def _ours(self, name: str, module: str, ready: Ready, stop_within: float = 10) -> Recipe:
        return Recipe(
            name=name,
            command=[sys.executable, "-m", module],
            environment=self._environment(name),
            ready=ready,
            stop_within=stop_within,
        )

    async def _until_gateway_answers(self) -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=2) as client:
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    if (await client.get(f"{self._gateway}/health/live")).is_success:
                        return
                await asyncio.sleep(0.05)

    def _environment(self, name: str) -> dict[str, str]:
        """Return what a part is told on top of our own environment."""
        settings = self._as(name)
        told = {
            "NATS_URL": settings.nats_url or "",
            "REDIS_HOST": settings.redis_host or "",
            "REDIS_PORT": str(settings.redis_port),
            "PORT": str(settings.port),
            "PYTHONUNBUFFERED": "1",
        }
        if settings.nats_password is not None:
            told["NATS_PASSWORD"] = settings.nats_password.get_secret_value()
        if settings.redis_url is not None:
            told["REDIS_URL"] = settings.redis_url.get_secret_value()
        if settings.redis_password is not None:
            told["REDIS_PASSWORD"] = settings.redis_password.get_secret_value()
        return told

    def _as(self, name: str) -> Settings:
        """Return the settings with the NATS password of a part's role."""
        role = ROLES[name]
        held = getattr(self._passwords, role) if self._embedded_nats else None
        # A NATS of their own that runs our nats.conf has a password per role as well.
        password = held or os.environ.get(f"WA_NATS_{role.upper()}_PASSWORD")
        if password is None:
            return self._settings
        return self._settings.model_copy(update={"nats_password": SecretStr(password)})

    def _where(self) -> dict[str, object]:
        """Return what `wa` and tests need to find us. Holds passwords: for a 0600 file only."""
        redis, url = self._settings.redis_password, self._settings.redis_url
        return {
            "pid": os.getpid(),
            "gateway_url": self._gateway,
            "nats_url": self._settings.nats_url,
            "nats_passwords": self._passwords.model_dump(exclude={"redis"})
            if self._embedded_nats
            else {},
            "nats_tenants": str(self._home / servers.TENANTS) if self._embedded_nats else None,
            "redis_url": url.get_secret_value() if url else None,
            "redis_host": self._settings.redis_host,
            "redis_port": self._settings.redis_port,
            "redis_password": redis.get_secret_value() if redis else None,
            "api_key_file": str(self._settings.api_key_file),
            "sandbox_url": self._settings.sandbox_url,
        }

    def _key(self) -> str:
        return "API_KEY" if self._settings.api_key else str(self._settings.api_key_file)

    @property
    def _gateway(self) -> str:
        anywhere = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # an address to listen on, not to ask
        host = anywhere.get(self._settings.host, self._settings.host)
        return f"http://{host}:{self._settings.port}"


def addressed(settings: Settings, held: Passwords) -> Settings:
    """Return the settings with an address for everything we start ourselves. Raises InUse."""
    told: dict[str, object] = {"port": claim("PORT", settings.port, settings.host)}
    taken = {told["port"]}
    if settings.nats_url is None:
        port = claim("NATS_PORT", settings.nats_port, besides=taken)
        taken.add(port)
        told |= {
            "nats_port": port,
            "nats_url": f"nats://127.0.0.1:{port}",
            "nats_password": SecretStr(held.node),
        }
    if not settings.outside_redis:
        # The default is the port of the machine's own Redis, which we leave alone.
        asked = settings.redis_port if "redis_port" in settings.model_fields_set else 0
        told |= {
            "redis_host": "127.0.0.1",
            "redis_port": claim("REDIS_PORT", asked, besides=taken),
            "redis_password": SecretStr(held.redis),
        }
    return settings.model_copy(update=told)


def explain(error: OSError) -> str:
    """Say in one line what the operating system refused, and the mend."""
    where = f"{error.filename}: " if error.filename else ""
    if error.errno == errno.ENOSPC:
        return f"{where}the disk is full"
    mend = "; set DATA_DIR to a folder that may be written" if where else ""
    return f"{where}{error.strerror or error}{mend}"


def _bare(settings: Settings) -> str:
    """Drop credentials from the URL before it is shown."""
    return (settings.nats_url or "").rsplit("@", 1)[-1]


async def _within(answer: Awaitable[None], who: str, variables: str) -> None:
    try:
        await asyncio.wait_for(answer, PATIENCE)
    except TimeoutError:
        raise CannotStart(f"{who} does not answer: look at {variables}") from None


async def at_once() -> None:
    """Take a part for up that has no way to say so."""


def say(name: str, line: str) -> None:
    """Print a line under the part's name; nobody listening is no reason to stop."""
    with contextlib.suppress(OSError):
        print(f"{name:<12}{line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
