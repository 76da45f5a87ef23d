"""The brokers of `deploy/compose*.yml`, run as they are written there, but for their addresses.

No container is needed to find out whether a command line is understood, three brokers find
one another, and the service's roles may do their work on them.
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
MACHINES = {f"MACHINE_{number}": f"127.0.0.{number}" for number in (1, 2, 3)}


def written(file: str, service: str, ports: Mapping[str, int], **variables: str) -> dict[str, Any]:
    """Read a service with its variables filled in, on other ports."""
    text = (ROOT / "deploy" / file).read_text()
    for port, other in ports.items():
        text = re.sub(rf"\b{port}\b", str(other), text)
    told = PASSWORDS | MACHINES | variables
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


@pytest.mark.long
async def test_the_brokers_of_three_machines_are_one_and_outlive_the_loss_of_one(
    tmp_path: Path,
) -> None:
    ports = {"4222": free_port(), "6222": free_port(), "8222": free_port()}
    with contextlib.ExitStack() as last, contextlib.ExitStack() as first:
        for number, address in enumerate(MACHINES.values(), 1):
            machine = {"MACHINE": str(number), "MACHINE_ADDRESS": address}
            service = written("compose.three.yml", "nats", ports, **machine)
            stack = first if number == 1 else last
            stack.enter_context(running(service, tmp_path / str(number), ("0.0.0.0", address)))
        url = ",".join(f"nats://{address}:{ports['4222']}" for address in MACHINES.values())
        node = await connected(url, "node")
        replicas = await declared(node, 3)

        first.close()
        stored = None
        while stored is None:
            with contextlib.suppress(Exception):
                js = node.jetstream(timeout=5)
                stored = await js.publish("wa.evt.session.ann.bot.claimed", b"{}")

        await node.close()
    assert (replicas, stored.stream) == (3, subjects.EVENTS)


def test_the_redis_of_one_machine_asks_for_its_password(tmp_path: Path) -> None:
    port = free_port()
    service = written("compose.yml", "redis", {})
    with running(service, tmp_path / "redis", ("dir ", f"bind 127.0.0.1\nport {port}\ndir ")):
        client = redis.Redis(port=port, password=PASSWORDS["REDIS_PASSWORD"])

        until(client.ping, tmp_path)

        with pytest.raises(redis.AuthenticationError):
            redis.Redis(port=port).ping()
        assert client.config_get("appendonly") == {"appendonly": "yes"}


def test_the_redis_of_three_machines_has_one_master_and_three_who_watch(tmp_path: Path) -> None:
    ports = {"6379": free_port(), "26379": free_port()}
    with contextlib.ExitStack() as stack:
        for number, address in enumerate(MACHINES.values(), 1):
            machine = {"MACHINE": str(number), "MACHINE_ADDRESS": address}
            for service, port, line in (
                ("redis", ports["6379"], "dir "),
                ("sentinel", ports["26379"], "protected-mode "),
            ):
                here = f"bind {address}\nport {port}\n{line}"
                told = written("compose.three.yml", service, ports, **machine)
                stack.enter_context(running(told, tmp_path / f"{service}-{number}", (line, here)))
        sentinel = redis.Redis(host="127.0.0.3", port=ports["26379"], decode_responses=True)

        def all_there() -> bool:
            master = sentinel.sentinel_master("wa")
            return (master["num-other-sentinels"], master["num-slaves"]) == (2, 2)

        until(all_there, tmp_path)

        assert sentinel.sentinel_master("wa")["ip"] == "127.0.0.1"
