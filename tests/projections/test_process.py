"""The process: `python -m projections`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.projections.world import world
from tests.services import NatsServer

ROOT = Path(__file__).parent.parent.parent


def _start(nats_url: str, redis_port: int, tmp_path: Path, **more: str) -> subprocess.Popen[bytes]:
    known = {"NATS_URL": nats_url, "REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(redis_port)}
    known |= more
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


class Standing:
    """A projector among several: a process, and what it says of its turn."""

    def __init__(self, name: str, nats_url: str, redis_port: int, home: Path) -> None:
        # Longer than a machine that is busy holds anybody up, shorter than anybody waits.
        more = {"NODE": name, "PROJECTOR_LEASE": "4"}
        self.process = _start(nats_url, redis_port, home, **more)
        self._reading = asyncio.create_task(asyncio.to_thread(self._read))
        self._said: list[str] = []

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._said.append(json.loads(line)["event"])

    async def says(self, event: str, times: int = 1) -> None:
        async with asyncio.timeout(60):
            while self._said.count(event) < times:
                await asyncio.sleep(0.02)

    def said(self, event: str) -> int:
        return self._said.count(event)

    async def end(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        await self._reading
        self.process.wait()


@contextlib.asynccontextmanager
async def _two(
    nats_url: str, redis_port: int, home: Path
) -> AsyncIterator[tuple[Standing, Standing]]:
    """Start two projectors; the first one is at work."""
    first = Standing("one", nats_url, redis_port, home)
    try:
        await first.says("projections.at_work")
        second = Standing("two", nats_url, redis_port, home)
        try:
            await second.says("projections.started")
            yield first, second
        finally:
            await second.end()
    finally:
        await first.end()


async def test_of_two_one_is_at_work_and_the_other_takes_over_when_it_is_killed(
    nats_url: str, redis_port: int, tmp_path: Path
) -> None:
    async with world(nats_url, redis_port) as here, _two(nats_url, redis_port, tmp_path) as both:
        first, second = both
        author = here.author()
        await author.wander(60)
        await here.caught_up()
        assert second.said("projections.at_work") == 0

        first.process.kill()
        await author.wander(60)
        await second.says("projections.at_work")

        await here.caught_up()
        await here.agrees_with(author)


@pytest.mark.long
async def test_one_that_ends_hands_its_turn_over_at_once(
    nats_url: str, redis_port: int, tmp_path: Path
) -> None:
    async with world(nats_url, redis_port) as here, _two(nats_url, redis_port, tmp_path) as both:
        first, second = both
        author = here.author()
        await author.live()

        first.process.send_signal(signal.SIGTERM)
        await second.says("projections.at_work")

        await here.caught_up()
        await here.agrees_with(author)
        assert first.said("lease.lost") == 0


@pytest.mark.long
async def test_one_that_froze_and_wakes_harms_nothing_and_waits_for_its_turn(
    nats_url: str, redis_port: int, tmp_path: Path
) -> None:
    async with world(nats_url, redis_port) as here, _two(nats_url, redis_port, tmp_path) as both:
        first, second = both
        author = here.author()
        writing = asyncio.create_task(author.wander(200))

        first.process.send_signal(signal.SIGSTOP)
        await second.says("projections.at_work")
        await writing
        await here.caught_up()
        first.process.send_signal(signal.SIGCONT)
        await first.says("projections.waiting_for_turn")

        await author.wander(40)
        await here.caught_up()
        await here.agrees_with(author)
        assert (first.said("projections.at_work"), second.said("lease.lost")) == (1, 0)


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
