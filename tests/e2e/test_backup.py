"""`wa backup` of a service that runs, its folder lost, `wa restore`: everything goes on."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.service import FRIEND, NUMBER, Service, a_service, events_of

pytestmark = [pytest.mark.services, pytest.mark.browser, pytest.mark.timeout(240)]


async def wa(service: Service, *arguments: str) -> str:
    """Run `wa` as somebody at a terminal would; return what it says."""
    environment = {
        **os.environ,
        "DATA_DIR": str(service.data),
        "SANDBOX_URL": service.simulator.url,
    }
    done = await asyncio.to_thread(
        lambda: subprocess.run(
            [sys.executable, "-m", "gateway.cli.main", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


async def test_a_lost_folder_comes_back_with_its_log_its_keys_and_its_links(
    tmp_path: Path,
) -> None:
    async with a_service(tmp_path, VAULT_AFTER="0.2") as service:
        await service.link()
        await service.send("ann-bot", "first")
        await service.phone.incoming(NUMBER, FRIEND, "second")

        async def three() -> bool:
            saved = any(
                event["type"] == "wa.session.profile_saved.v1" for event in await events_of(service)
            )
            return saved and len(await service.history("ann-bot")) == 2

        await service.until(three, what="two messages and a snapshot")
        desk = (await wa(service, "keys", "create", "desk", "--user", "ann")).strip()
        history, key = await service.history("ann-bot"), service.key

        told = await wa(service, "backup", str(tmp_path / "backup"))
        backed_up = await events_of(service)
        await service.stop()
        shutil.rmtree(service.data / "sandbox")
        restored = await wa(service, "restore", str(tmp_path / "backup"))
        await service.start()
        await service.until_status("ann-bot", "ready")

        assert "files of keys (api-key, webhook-key, vault-key, tenants.conf)" in told
        assert "snapshots of profiles (1)" in told
        assert "read models are made anew" in restored
        assert service.key == key
        assert await service.history("ann-bot") == history
        assert len(await service.phone.devices(NUMBER)) == 1
        events = await events_of(service)
        assert events[: len(backed_up)] == backed_up
        assert [event["position"] for event in events] == list(range(1, len(events) + 1))
        assert (await service.send("ann-bot", "third")).status_code == 200
        mine = await service.http.get("/api/sessions", headers={"x-api-key": desk})
        assert [one["sessionId"] for one in mine.json()["sessions"]] == ["ann-bot"]
