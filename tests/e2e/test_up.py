"""`python -m actors.up`: the whole service on one machine, started, killed and stopped."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from actors.machine.ports import free_port
from actors.machine.secrets import Passwords
from tests.simulator.process import simulator

pytestmark = [pytest.mark.services, pytest.mark.timeout(180)]

PARTS = ("nats", "redis", "node", "projections", "gateway")
SIGNS = {
    "nats": "nats-server",
    "redis": "redis-server",
    "node": "-m actors",
    "projections": "-m projections",
    "gateway": "-m gateway",
}


class Up:
    """The service as a child of the test, and everything that it started."""

    def __init__(self, data: Path, **variables: str) -> None:
        self.home = data / ("sandbox" if "SANDBOX_URL" in variables else "live")
        self._word = f"test-{uuid.uuid4()}"
        self._output = data.with_name(f"{data.name}.log")
        environment = {
            **os.environ,
            "DATA_DIR": str(data),
            "PORT": "0",
            # Inherited by all that it starts, in whatever session or group that may be.
            "WA_TEST": self._word,
            **variables,
        }
        with self._output.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "actors.up"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        """Everything it printed."""
        return self._output.read_text()

    @property
    def note(self) -> dict[str, object]:
        """What it says about itself."""
        return json.loads((self.home / "up.json").read_text())

    def wait_until_ready(self) -> None:
        """Wait for the note that it writes last; one that was killed leaves its own behind."""
        until(lambda: self._noted() or self.process.poll() is not None, 60, lambda: self.said)
        assert self.process.poll() is None, self.said

    def _noted(self) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return self.note["pid"] == self.process.pid
        return False

    def wait_until_answering(self, seconds: float = 60) -> None:
        """Wait until the gateway answers."""
        until(
            lambda: answers(f"{self.note['gateway_url']}/health/live"), seconds, lambda: self.said
        )

    def everything(self) -> list[psutil.Process]:
        """Find every process that it started and that is still there, but itself."""
        found: list[psutil.Process] = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                # Redis writes its title over its environment, but it works in our folder.
                ours = process.environ().get("WA_TEST") == self._word or Path(
                    process.cwd()
                ).is_relative_to(self.home.resolve())
                ended = process.status() == psutil.STATUS_ZOMBIE
                if ours and not ended and process.pid != self.process.pid:
                    found.append(process)
        return found

    def part(self, name: str) -> psutil.Process | None:
        """Find the process of one part."""
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.Error):
                if SIGNS[name] in " ".join(child.cmdline()):
                    return child
        return None

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait; returns the exit status."""
        self.process.send_signal(number)
        return self.process.wait(60)


def answers(url: str) -> bool:
    """Ask an HTTP server whether it is there."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except (OSError, urllib.error.URLError):
        return False


def until(holds: Callable[[], bool], seconds: float, why: Callable[[], object]) -> None:
    """Wait for something; fail with what `why` says."""
    give_up = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > give_up:
            pytest.fail(f"not within {seconds:.0f} s: {why()}")
        time.sleep(0.05)


@contextlib.contextmanager
def up(data: Path, **variables: str) -> Iterator[Up]:
    """Run the service; whatever happens, leave nothing of it behind."""
    running = Up(data, **variables)
    try:
        yield running
    finally:
        for process in [*running.everything(), running.process]:
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                process.kill()
        running.process.wait(10)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One service for the tests that kill parts of it, in a folder with a space."""
    with up(tmp_path_factory.mktemp("one machine") / "data") as running:
        running.wait_until_ready()
        yield running


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# Starting and stopping


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_it_starts_answers_and_stops_without_a_trace(tmp_path: Path, number: int) -> None:
    with up(tmp_path / "data") as running:
        running.wait_until_ready()
        answered = answers(f"{running.note['gateway_url']}/health/live")
        there = {name for name in PARTS if running.part(name)}

        status = running.end(number)

        assert answered
        assert there == set(PARTS)
        assert status == 0, running.said
        assert running.everything() == []
        assert ": killed" not in running.said
        assert not (running.home / "up.json").exists()


def test_what_it_keeps_is_private_and_said_where(service: Up) -> None:
    note = service.note

    assert mode(service.home) == 0o700
    for name in ("up.json", "secrets.json"):
        assert mode(service.home / name) == 0o600
    assert service.home.name == "live"
    assert str(note["nats_url"]).startswith("nats://127.0.0.1:")
    assert note["redis_host"] == "127.0.0.1"
    secrets = json.loads((service.home / "secrets.json").read_text())
    assert len(set(secrets.values())) == len(Passwords.model_fields)
    for name in PARTS:
        part = service.part(name)
        assert part is not None
        line = " ".join(part.cmdline())
        assert not any(secret in line for secret in secrets.values()), "a password for all to see"


def test_nats_and_redis_listen_on_loopback_and_want_a_password(service: Up) -> None:
    for name in ("nats", "redis"):
        part = service.part(name)
        assert part is not None
        listening = [c for c in part.net_connections("inet") if c.status == psutil.CONN_LISTEN]
        assert {c.laddr[0] for c in listening} == {"127.0.0.1"}
    with socket.create_connection(("127.0.0.1", int(str(service.note["redis_port"])))) as redis:
        redis.sendall(b"PING\r\n")
        assert redis.recv(100).startswith(b"-NOAUTH")


def test_half_a_secrets_file_is_mended(tmp_path: Path) -> None:
    home = tmp_path / "data" / "live"
    home.mkdir(parents=True)
    (home / "secrets.json").write_text('{"node": "k12')

    with up(tmp_path / "data") as running:
        running.wait_until_ready()
        assert running.end() == 0
        assert ": killed" not in running.said, running.said

    assert Passwords.model_validate_json((home / "secrets.json").read_text())
    assert set(json.loads((home / "secrets.json").read_text())) == set(Passwords.model_fields)
    assert mode(home / "secrets.json") == 0o600


# Dying and coming back


@pytest.mark.parametrize("name", PARTS)
def test_a_part_that_is_killed_comes_back(service: Up, name: str) -> None:
    part = service.part(name)
    assert part is not None

    part.kill()
    until(
        lambda: (now := service.part(name)) is not None and now.pid != part.pid,
        30,
        lambda: service.said,
    )
    service.wait_until_answering()

    assert service.process.poll() is None
    assert f"{name:<12}died (SIGKILL)" in service.said


def test_all_parts_killed_at_once_come_back(service: Up) -> None:
    parts = [part for name in PARTS if (part := service.part(name))]
    old = {part.pid for part in parts}

    for part in parts:
        part.kill()
    until(
        lambda: all((now := service.part(name)) and now.pid not in old for name in PARTS),
        60,
        lambda: service.said,
    )
    service.wait_until_answering()

    assert len(service.everything()) >= len(PARTS)


def test_killed_itself_it_leaves_nobody_behind_and_starts_again(tmp_path: Path) -> None:
    with up(tmp_path / "data") as running:
        running.wait_until_ready()

        running.end(signal.SIGKILL)
        until(lambda: not running.everything(), 10, running.everything)

    with up(tmp_path / "data") as again:
        again.wait_until_ready()
        again.wait_until_answering()
        assert again.end() == 0
        assert again.everything() == []


@pytest.mark.browser
async def test_with_a_browser_open_it_leaves_no_browser_and_takes_it_up_again(
    tmp_path: Path,
) -> None:
    async with simulator(tmp_path / "simulator") as whatsapp:
        with up(tmp_path / "data", SANDBOX_URL=whatsapp.url) as running:
            await asyncio.to_thread(running.wait_until_ready)
            await create(running)
            await whatsapp.phone.wait_for_qr(timeout=60)
            # A browser is given an environment of its own, so it is known by its parents.
            family = psutil.Process(running.process.pid).children(recursive=True)
            browsers = [process for process in family if "chromium" in process.name()]

            running.end(signal.SIGKILL)
            await asyncio.to_thread(until, lambda: not alive(family), 10, lambda: alive(family))

            assert browsers

        with up(tmp_path / "data", SANDBOX_URL=whatsapp.url) as again:
            await asyncio.to_thread(again.wait_until_ready)
            await whatsapp.phone.wait_for_qr(timeout=60)
            assert await asyncio.to_thread(again.end) == 0
            assert again.everything() == []
            assert ": killed" not in again.said, again.said


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Return those that still run."""
    found: list[psutil.Process] = []
    for process in processes:
        with contextlib.suppress(psutil.Error):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


async def create(running: Up) -> None:
    """Create a session over HTTP."""
    key = (running.home / "api-key").read_text().strip()
    async with httpx.AsyncClient(trust_env=False, timeout=40) as http:
        answer = await http.post(
            f"{running.note['gateway_url']}/api/sessions/create",
            json={"userId": "ann", "plubotId": "bot"},
            headers={"x-api-key": key},
        )
    assert answer.status_code in {200, 202}, answer.text


def test_killed_while_it_starts_it_leaves_nobody_behind(tmp_path: Path) -> None:
    with up(tmp_path / "data") as running:
        until(lambda: "redis       up" in running.said, 30, lambda: running.said)

        running.end(signal.SIGKILL)
        until(lambda: not running.everything(), 10, running.everything)


def test_stopped_while_it_starts_it_stops(tmp_path: Path) -> None:
    with up(tmp_path / "data") as running:
        until(lambda: "redis       up" in running.said, 30, lambda: running.said)

        assert running.end() == 0
        assert running.everything() == []


# What is in the way is said in one line


def failed(tmp_path: Path, **variables: str) -> str:
    """Run it where it cannot start; returns its last line."""
    with up(tmp_path / "data", **variables) as running:
        assert running.process.wait(60) == 1, running.said
        assert running.everything() == []
        lines = running.said.strip().splitlines()
        assert "Traceback" not in running.said
        return lines[-1]


def test_two_on_one_folder_refuse_each_other(service: Up, tmp_path: Path) -> None:
    line = failed(tmp_path, DATA_DIR=str(service.home.parent))

    assert f"in use by process {service.process.pid}" in line
    assert "DATA_DIR" in line
    assert service.note["pid"] == service.process.pid


@pytest.mark.parametrize("variable", ["PORT", "NATS_PORT", "REDIS_PORT"])
def test_a_port_in_use_is_named_with_its_owner(tmp_path: Path, variable: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        line = failed(tmp_path, **{variable: str(port)})

    assert f"{variable}={port} is in use" in line
    assert f"process {os.getpid()}" in line


def test_a_data_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    line = failed(tmp_path, DATA_DIR=str(tmp_path / "file" / "data"))

    assert str(tmp_path / "file") in line
    assert "DATA_DIR" in line


def test_a_data_folder_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    # Where not even root may make a folder.
    line = failed(tmp_path, DATA_DIR="/sys/wa")

    assert "/sys/wa" in line
    assert "DATA_DIR" in line


def test_without_redis_it_says_what_to_install(tmp_path: Path) -> None:
    line = failed(tmp_path, PATH=str(tmp_path))

    assert "redis-server is not installed" in line
    assert "apt-get install redis-server" in line


def test_a_nats_of_somebody_else_that_is_away_is_named(tmp_path: Path) -> None:
    port = free_port()

    line = failed(tmp_path, NATS_URL=f"nats://user:secret@127.0.0.1:{port}")

    assert f"127.0.0.1:{port} does not answer" in line
    assert "NATS_URL" in line
    assert "secret" not in line


def test_bad_settings_are_named(tmp_path: Path) -> None:
    line = failed(tmp_path, SANDBOX_URL="https://example.com:443", START_CONCURRENCY="many")

    assert "SANDBOX_URL" in line
    assert "START_CONCURRENCY" in line
