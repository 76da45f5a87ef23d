"""The brokers of `deploy/compose.yml`, run as they are written there, but for their addresses.

No container is needed to find out whether a command line is understood, and the service's
roles may do their work on what it starts.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from actors.machine.ports import free_port
from events import connection, streams, subjects
from events.settings import Settings
from tests.services import binary

pytestmark = pytest.mark.services

ROOT = Path(__file__).resolve().parents[2]
PASSWORDS = {
    name: f"k-{name.lower()}"
    for name in re.findall(r"^([A-Z_]+)=$", (ROOT / "deploy/compose.env").read_text(), re.MULTILINE)
}


def written(file: str, service: str, ports: Mapping[str, int], **variables: str) -> dict[str, Any]:
    """Read a service with its variables filled in, on other ports."""
    text = (ROOT / "deploy" / file).read_text()
    for port, other in ports.items():
        text = re.sub(rf"\b{port}\b", str(other), text)
    told = PASSWORDS | variables
    text = re.sub(r"(?<!\$)\${([A-Z0-9_]+):\?}", lambda found: told[found[1]], text)
    return yaml.safe_load(text.replace("$$", "$"))["services"][service]


@contextlib.contextmanager
def running(service: dict[str, Any], home: Path, *instead: tuple[str, str]) -> Iterator[None]:
    """Run a service's command with its variables, its volume being `home`."""
    home.mkdir(parents=True, exist_ok=True)
    command = [str(word) for word in service["command"]]
    for old, new in (("/data", str(home)), *instead):
        command = [word.replace(old, new) for word in command]
    command[0] = "sh" if command[0] == "sh" else binary(command[0])
    environment = {
        name: str(value).replace("/data", str(home))
        for name, value in service["environment"].items()
    }
    with (home / "said").open("wb") as said:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | environment,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def until(holds: Callable[[], bool], said: Path) -> None:
    """Wait for something to be true; what is not up yet is not true."""
    give_up = time.monotonic() + 60
    while True:
        with contextlib.suppress(redis.RedisError):
            if holds():
                return
        if time.monotonic() > give_up:
            pytest.fail("\n".join(path.read_text() for path in said.rglob("said"))[-3000:])
        time.sleep(0.05)


async def connected(url: str, role: str) -> connection.Connection:
    password = PASSWORDS[f"WA_NATS_{role.upper()}_PASSWORD"]
    settings = Settings(nats_url=url, nats_password=password)  # type: ignore[arg-type]
    return await connection.connect(settings, role, name="test", patience=60)  # type: ignore[arg-type]


async def declared(client: connection.Connection, replicas: int) -> int:
    """Declare the streams as a node does, as soon as the brokers agree on who leads."""
    while True:
        with contextlib.suppress(Exception):
            js = client.jetstream(timeout=5)
            await streams.declare(js, Settings(replicas=replicas))
            config = (await js.stream_info(subjects.EVENTS)).config
            return config.num_replicas or 0
        await asyncio.sleep(0.1)


async def test_the_broker_of_one_machine_serves_the_roles(tmp_path: Path) -> None:
    ports = {"4222": free_port(), "8222": free_port()}
    service = written("compose.yml", "nats", ports)
    with running(service, tmp_path / "nats", ("0.0.0.0", "127.0.0.1")):
        url = f"nats://127.0.0.1:{ports['4222']}"
        node, gateway = await connected(url, "node"), await connected(url, "gateway")

        replicas = await declared(node, 1)
        ack = await gateway.jetstream().publish(subjects.create_command("ann"), b"{}")

        await node.close()
        await gateway.close()
    assert (replicas, ack.stream) == (1, subjects.COMMANDS)


def test_the_redis_of_one_machine_asks_for_its_password(tmp_path: Path) -> None:
    port = free_port()
    service = written("compose.yml", "redis", {})
    with running(service, tmp_path / "redis", ("dir ", f"bind 127.0.0.1\nport {port}\ndir ")):
        client = redis.Redis(port=port, password=PASSWORDS["REDIS_PASSWORD"])

        until(client.ping, tmp_path)

        with pytest.raises(redis.AuthenticationError):
            redis.Redis(port=port).ping()
        assert client.config_get("appendonly") == {"appendonly": "yes"}
