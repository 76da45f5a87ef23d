"""The process: `python -m projections`."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.projections.world import world
from tests.services import NatsServer

ROOT = Path(__file__).parent.parent.parent


def _start(nats_url: str, redis_port: int, tmp_path: Path) -> subprocess.Popen[bytes]:
    known = {"NATS_URL": nats_url, "REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(redis_port)}
    return subprocess.Popen(
        [sys.executable, "-m", "projections"],
        cwd=tmp_path,
        env={**os.environ, **known, "PYTHONPATH": str(ROOT), "LOG_JSON": "true"},
        stderr=subprocess.PIPE,
    )


async def test_it_projects_until_a_signal_and_ends_cleanly(
    nats_url: str, redis_port: int, tmp_path: Path
) -> None:
    async with world(nats_url, redis_port) as here:
        author = here.author()
        process = _start(nats_url, redis_port, tmp_path)
        try:
            await author.live()
            await author.send("mine", body="the secret body")
            await here.caught_up()
            await here.agrees_with(author)
        finally:
            process.send_signal(signal.SIGTERM)
            told = (await asyncio.to_thread(process.communicate, None, 15))[1].decode()

    assert process.returncode == 0
    assert '"event": "projections.ended"' in told
    assert "secret" not in told
    assert "491701234567" not in told


async def test_it_waits_for_the_streams_to_be_declared(
    nats_url: str, redis_port: int, tmp_path: Path
) -> None:
    process = _start(nats_url, redis_port, tmp_path)
    try:
        await asyncio.sleep(1.0)
        assert process.poll() is None
        async with world(nats_url, redis_port) as here:
            author = here.author()
            await author.live()
            await here.caught_up()
            await here.agrees_with(author)
    finally:
        process.send_signal(signal.SIGINT)
        await asyncio.to_thread(process.communicate, None, 15)
    assert process.returncode == 0


async def test_it_outlives_a_restart_of_the_broker(
    own_nats: NatsServer, redis_port: int, tmp_path: Path
) -> None:
    process = _start(own_nats.url, redis_port, tmp_path)
    try:
        async with world(own_nats.url, redis_port) as here:
            author = here.author()
            await author.live()
            await here.caught_up()
            own_nats.kill()
            own_nats.start()
            await author.receive("in-1")
            await here.caught_up()
            await here.agrees_with(author)
    finally:
        process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(process.communicate, None, 15)
    assert process.returncode == 0


def test_it_tells_how_it_is_configured_and_what_is_wrong(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "projections"]
    quiet = {**os.environ, "PYTHONPATH": str(ROOT)}

    helped = subprocess.run(
        [*command, "--help"], cwd=tmp_path, env=quiet, capture_output=True, check=False
    )
    refused = subprocess.run(
        command,
        cwd=tmp_path,
        env={**quiet, "REDIS_PORT": "many"},
        capture_output=True,
        check=False,
    )

    assert helped.returncode == 0
    assert b"NATS_URL" in helped.stdout
    assert refused.returncode == 2
    assert b"REDIS_PORT" in refused.stderr
