"""A link survives the loss of its profile: real Chromium, Redis and disk."""

from __future__ import annotations

import asyncio
import base64
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.service import NUMBER, Service, a_service, events_of

pytestmark = [pytest.mark.services, pytest.mark.browser, pytest.mark.timeout(240)]

OFTEN = {"VAULT_AFTER": "0.5", "VAULT_INTERVAL": "1"}
OTHER_KEY = base64.b64encode(b"not the key of before".ljust(32)).decode()


class Home:
    """The folder of a service that is stopped."""

    def __init__(self, service: Service) -> None:
        self._home = service.data / "sandbox"

    def lose_profile(self) -> None:
        shutil.rmtree(self._home / "profiles" / "ann.bot")

    def lose_redis(self) -> None:
        shutil.rmtree(self._home / "redis")

    @property
    def snapshots(self) -> list[Path]:
        """What lies on the disk, the oldest first."""
        return sorted((self._home / "vault" / "ann.bot").glob("*.snapshot"))

    def touch_newest(self) -> None:
        """Change one byte of the newest snapshot."""
        sealed = bytearray(self.snapshots[-1].read_bytes())
        sealed[len(sealed) // 2] ^= 1
        self.snapshots[-1].write_bytes(sealed)


async def told(service: Service, kind: str) -> list[dict[str, Any]]:
    """Return what the events of a kind say, in order."""
    kind = f"wa.session.{kind}.v1"
    return [event["data"] for event in await events_of(service) if event["type"] == kind]


async def until_saved(service: Service, count: int) -> None:
    async def enough() -> bool:
        return len(await told(service, "profile_saved")) >= count

    await service.until(enough, what=f"{count} snapshots")


async def restored(service: Service) -> list[tuple[str, bool]]:
    """Start, wait until the session is ready without a scan, and list every restoration."""
    await service.start()
    await service.until_status("ann-bot", "ready")
    assert len(await service.phone.devices(NUMBER)) == 1
    answer = await service.send("ann-bot", "as before")
    assert answer.status_code == 200, answer.text
    return [(event["source"], event["older"]) for event in await told(service, "profile_restored")]


async def test_a_lost_profile_comes_back_from_redis_from_disk_or_from_an_older_snapshot(
    tmp_path: Path,
) -> None:
    async with a_service(tmp_path, **OFTEN) as service:
        await service.link()
        await until_saved(service, 2)
        up, home = service.up, Home(service)
        assert up is not None

        # What there is now was copied while the browser ran.
        await service.end(signal.SIGKILL)
        await service.until(lambda: asyncio.sleep(0, up.everything() == []), 20, "all ended")
        home.lose_profile()
        first = await restored(service)

        await service.stop()
        home.lose_profile()
        home.lose_redis()
        second = await restored(service)

        await service.stop()
        home.lose_profile()
        home.lose_redis()
        home.touch_newest()
        third = await restored(service)

        assert [source for source, _ in first] == ["redis"]
        assert second[1:] == [("disk", False)]
        assert third[2:] == [("disk", True)]


async def test_with_the_wrong_key_nothing_is_lost(tmp_path: Path) -> None:
    async with a_service(tmp_path) as service:
        await service.link()
        await service.stop()
        home = Home(service)
        home.lose_profile()
        before = [path.read_bytes() for path in home.snapshots]

        await service.start(VAULT_KEY=OTHER_KEY)
        await service.until_status("ann-bot", "reconnecting")
        crashed = (await told(service, "crashed"))[0]
        await service.stop()

        assert crashed["reason"] == "vault_key"
        assert "VAULT_KEY" in crashed["detail"]
        assert [path.read_bytes() for path in home.snapshots] == before
        assert await restored(service) == [("redis", False)]
