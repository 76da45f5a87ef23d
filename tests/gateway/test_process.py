"""The gateway as a process: how it starts, what it says, how it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import sys
import time
from pathlib import Path

import httpx
import pytest

from actors.machine.ports import free_port
from events.settings import Settings
from gateway.auth import admin_key

NOWHERE = {"NATS_URL": "nats://127.0.0.1:9", "REDIS_HOST": "127.0.0.1", "REDIS_PORT": "9"}


async def start(home: Path, **environment: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway"),
        env=os.environ | NOWHERE | {"DATA_DIR": str(home)} | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def answers(port: int) -> None:
    async with httpx.AsyncClient() as http, asyncio.timeout(60):
        while True:
            try:
                if (await http.get(f"http://127.0.0.1:{port}/health/live")).is_success:
                    return
            except httpx.HTTPError:
                await asyncio.sleep(0.05)


async def test_it_starts_without_nats_and_redis_and_ends_on_sigterm(tmp_path: Path) -> None:
    port = free_port()
    process = await start(tmp_path, PORT=str(port))
    await answers(port)
    key = (tmp_path / "live" / "api-key").read_text().strip()

    async with httpx.AsyncClient(headers={"x-api-key": key}, timeout=40) as http:
        listed = await http.get(f"http://127.0.0.1:{port}/api/sessions")
        health = await http.get(f"http://127.0.0.1:{port}/health")
        docs = await http.get(f"http://127.0.0.1:{port}/docs?api_key={key}")
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    said, complained = await asyncio.wait_for(process.communicate(), 60)

    assert (listed.status_code, health.status_code, docs.status_code) == (503, 503, 200)
    assert process.returncode == 0
    assert time.monotonic() - began < 6
    assert key.encode() not in said + complained
    assert b"Traceback" not in said + complained


async def test_an_open_request_does_not_hold_up_the_end(
    tmp_path: Path,
) -> None:
    port = free_port()
    process = await start(tmp_path, PORT=str(port), API_KEY="k")
    await answers(port)
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /api/sessions/create HTTP/1.1\r\nhost: a\r\nx-api-key: k\r\n")
    writer.write(b"content-length: 50\r\n\r\n{")
    await writer.drain()
    await asyncio.sleep(0.1)

    process.send_signal(signal.SIGTERM)
    await asyncio.wait_for(process.communicate(), 60)
    writer.close()

    assert process.returncode == 0


async def test_a_port_in_use_is_one_line_that_names_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = await start(tmp_path, PORT=str(taken.getsockname()[1]))
        _, complained = await asyncio.wait_for(process.communicate(), 60)

    assert process.returncode == 1
    assert complained.decode().count("\n") == 1
    assert "PORT" in complained.decode()


async def test_a_bad_setting_is_one_line_that_names_it(tmp_path: Path) -> None:
    process = await start(tmp_path, SEND_WAIT="soon")
    _, complained = await asyncio.wait_for(process.communicate(), 60)

    assert process.returncode == 2
    assert complained.decode().count("\n") == 1
    assert "SEND_WAIT" in complained.decode()


async def test_help_says_what_it_is(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "--help"), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await asyncio.wait_for(process.communicate(), 60)

    assert process.returncode == 0
    assert b"HTTP and WebSocket" in said


# --- the first key ----------------------------------------------------------------------


def settings(home: Path, **more: str) -> Settings:
    return Settings.model_validate({"data_dir": home} | more)


def test_the_first_key_is_made_once_and_is_the_owners_alone(tmp_path: Path) -> None:
    first = admin_key(settings(tmp_path))
    again = admin_key(settings(tmp_path))

    file = settings(tmp_path).api_key_file
    assert first == again == file.read_text().strip()
    assert len(first) >= 40
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert [path.name for path in file.parent.iterdir()] == ["api-key"]


def test_a_key_of_the_environment_is_not_written(tmp_path: Path) -> None:
    assert admin_key(settings(tmp_path, api_key="from-outside")) == "from-outside"
    assert not settings(tmp_path).api_key_file.exists()


async def test_two_that_start_together_have_one_key(tmp_path: Path) -> None:
    made = await asyncio.gather(
        *(asyncio.to_thread(admin_key, settings(tmp_path)) for _ in range(20))
    )

    assert len(set(made)) == 1


def test_an_empty_key_file_is_not_an_open_door(tmp_path: Path) -> None:
    file = settings(tmp_path).api_key_file
    file.parent.mkdir(parents=True)
    file.touch()

    with pytest.raises(OSError, match="api-key"):
        admin_key(settings(tmp_path))
