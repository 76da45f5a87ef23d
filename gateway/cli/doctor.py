"""`wa doctor`: what is missing on this machine, and how to mend it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import httpx
import psutil
from rich.console import Console

from events.settings import BadSettings, Settings, load

Word = Literal["ok", "note", "missing"]

CHROMIUM = (
    "/usr/lib/chromium/chromium-headless-shell",
    "/usr/lib/chromium/chromium",
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
)
WHATSAPP = "web.whatsapp.com"
OLDEST_PYTHON = (3, 11)
LITTLE_DISK = 1_000_000_000
SESSION_MEMORY = 100_000_000
"""What one session's browser takes with a real account, roughly."""

STYLES: dict[Word, str] = {"ok": "green", "note": "yellow", "missing": "bold red"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found: `note` is worth knowing, `missing` keeps the service from running."""

    word: Word
    what: str
    mend: str = ""


def run() -> int:
    """Check this machine and say what was found; 1 if something that is needed is missing."""
    console = Console(highlight=False, soft_wrap=True)
    worst = 0
    for finding in findings():
        console.print(f"[{STYLES[finding.word]}]{finding.word:<8}[/]", end="")
        console.print(finding.what, markup=False)
        if finding.mend:
            console.print(f"        -> {finding.mend}", markup=False)
        worst |= finding.word == "missing"
    return int(worst)


def findings() -> Iterator[Finding]:
    """Run every check; without valid settings only those that need none."""
    yield python()
    try:
        settings = load()
    except BadSettings as error:
        yield Finding("missing", f"settings: {error}", "see the table of settings in the README")
        return
    yield Finding("ok", f"settings: {'sandbox' if settings.sandbox_url else 'live'} mode")
    note = running(settings)
    for check in CHECKS:
        yield check(settings)
    yield memory()
    if note is None:
        yield port(settings)
        yield Finding("note", "the service is not running", "make up")
    else:
        yield health(note)


def python() -> Finding:
    """Check that Python is new enough."""
    version = sys.version.split()[0]
    if sys.version_info[:2] < OLDEST_PYTHON:
        return Finding(
            "missing", f"Python {version}: 3.11 or newer is needed", "install python3.11"
        )
    return Finding("ok", f"Python {version}")


def chromium(settings: Settings) -> Finding:
    """Check that there is a Chromium, and that it starts."""
    asked = settings.puppeteer_executable_path
    mend = "apt-get install chromium-headless-shell, or set PUPPETEER_EXECUTABLE_PATH"
    found = [str(asked)] if asked else list(filter(None, map(shutil.which, CHROMIUM)))
    if not found:
        return Finding("missing", "Chromium is not installed", mend)
    version = _told([found[0], "--version"])
    if version is None:
        return Finding("missing", f"Chromium at {found[0]} does not start", mend)
    return Finding("ok", f"{version} at {found[0]}")


def nats_server(settings: Settings) -> Finding:
    """Check that there is a nats-server, or a NATS elsewhere."""
    if settings.nats_url:
        return Finding("ok", "NATS: yours (NATS_URL)")
    beside = Path(sys.executable).parent / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    version = _told([found, "--version"]) if found else None
    if version is None:
        return Finding("missing", "nats-server is not installed", "make setup")
    return Finding("ok", version)


def redis_server(settings: Settings) -> Finding:
    """Check that there is a redis-server, or a Redis elsewhere."""
    if settings.outside_redis:
        return Finding("ok", f"Redis: yours, at {settings.redis}")
    version = _told(["redis-server", "--version"])
    if version is None:
        mend = "apt-get install redis-server, or set REDIS_URL"
        return Finding("missing", "redis-server is not installed", mend)
    return Finding("ok", version.split(" sha=")[0])


def wa_js(settings: Settings) -> Finding:
    """Check that the wa-js bundle is the one that package-lock.json names.

    The lock's hash is that of the package as it was downloaded. npm checked it
    then and wrote down which one it unpacked; that note is what is compared.
    """
    bundle = settings.wa_js
    if not bundle.exists():
        return Finding(
            "missing", f"the wa-js bundle is not at {bundle}", "make setup, or set WA_JS"
        )
    folder = next((p for p in bundle.absolute().parents if p.name == "node_modules"), None)
    locked = _locked(folder.parent / "package-lock.json") if folder else None
    unpacked = _locked(folder / ".package-lock.json") if folder else None
    if locked is None or unpacked is None:
        return Finding("note", f"wa-js at {bundle}: nothing to check it against")
    if locked != unpacked:
        what = f"wa-js is {unpacked[0]}, package-lock.json names {locked[0]}"
        return Finding("missing", what, "npm ci --omit=dev")
    return Finding("ok", f"wa-js {locked[0]}, the one in package-lock.json")


def data_folder(settings: Settings) -> Finding:
    """Check that data can be kept."""
    home = settings.home.absolute()
    there = next(folder for folder in (home, *home.parents) if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return Finding("missing", f"{there} cannot be written", "set DATA_DIR to another folder")
    free = shutil.disk_usage(there).free
    if free < LITTLE_DISK:
        what = f"{home}: only {free / 1e6:.0f} MB are free on this disk"
        return Finding("missing", what, "make room, or set DATA_DIR to another disk")
    return Finding("ok", f"data in {home}, {free / 1e9:.0f} GB free")


def memory() -> Finding:
    """Tell for how many browsers there is room."""
    free = psutil.virtual_memory().available
    room = free // SESSION_MEMORY
    word: Word = "ok" if room >= 5 else "note"
    return Finding(word, f"{free / 1e9:.1f} GB of memory free: room for about {room} sessions")


def route(settings: Settings) -> Finding:
    """Check the way to WhatsApp: its name, and a TLS handshake. The sandbox needs none."""
    try:
        with (
            socket.create_connection((WHATSAPP, 443), timeout=3) as plain,
            ssl.create_default_context().wrap_socket(plain, server_hostname=WHATSAPP) as secure,
        ):
            return Finding("ok", f"{WHATSAPP} answers ({secure.version()})")
    except OSError as error:
        why = error.strerror or str(error) or "no answer"
    what = f"no way to {WHATSAPP}: {why}"
    if settings.sandbox_url:
        return Finding("note", f"{what} (the sandbox needs none)")
    return Finding("missing", what, "look at the network, name server and firewall; or: make demo")


def port(settings: Settings) -> Finding:
    """Check that the gateway could listen."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            what = f"{settings.host}:{settings.port}: {error.strerror}"
            return Finding("missing", what, "set PORT (or HOST) to another, PORT=0 for a free one")
    return Finding("ok", f"port {settings.port} is free")


def running(settings: Settings) -> dict[str, object] | None:
    """Read where the service says it is; None if it does not run."""
    try:
        note = cast("dict[str, object]", json.loads((settings.home / "up.json").read_text()))
        # One that was killed could not take its note back.
        return note if psutil.pid_exists(int(str(note["pid"]))) else None
    except (OSError, ValueError, KeyError):
        return None


def health(note: dict[str, object]) -> Finding:
    """Ask the running service how it is."""
    url = str(note.get("gateway_url"))
    try:
        told = httpx.get(f"{url}/health", timeout=5, trust_env=False).json()
        word = str(told["status"])
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return Finding("missing", f"the service runs but {url} does not answer", "look at its log")
    what = f"the service at {url} is {word}"
    return Finding("ok", what) if word == "healthy" else Finding("note", what, f"{url}/health")


CHECKS: tuple[Callable[[Settings], Finding], ...] = (
    chromium,
    nats_server,
    redis_server,
    wa_js,
    data_folder,
    route,
)


def _told(command: list[str]) -> str | None:
    """Return the first line that a program says, None if it does not run."""
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=15)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.strip().splitlines()
    return lines[0].strip() if done.returncode == 0 and lines else None


def _locked(lock: Path) -> tuple[str, str] | None:
    """Read the version and hash of wa-js from a lock of npm's."""
    try:
        entry = json.loads(lock.read_text())["packages"]["node_modules/@wppconnect/wa-js"]
        return str(entry["version"]), str(entry["integrity"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


if __name__ == "__main__":
    sys.exit(run())
