"""What the vault takes of a linked session: size and time of a profile's snapshot.

The simulator's profile is small, so the same is done once more with as many megabytes of
chats as a real account's may hold: bytes that do not pack, which is the dearest case.
"""

from __future__ import annotations

import os
import shutil
import time
from base64 import b64encode
from pathlib import Path

from actors.vault.keys import Keys
from actors.vault.shelves import DiskShelf, RedisShelf, open_redis
from actors.vault.vault import Vault
from events.clock import utc_now
from events.subjects import SessionId
from tests.bench.rows import Row, Say
from tests.faults.site import a_site

MB = 1_000_000
LARGEST = 200
"""Megabytes that a profile may have."""

CHATS = 50
"""Megabytes of chats in the larger one."""


async def measure(home: Path, runs: int, say: Say) -> list[Row]:
    """Link a session on a real browser, stop its node, and save and restore its profile."""
    async with a_site(home, 1, {"node": "actors"}, LOG_LEVEL="warning") as site:
        [session] = site.sessions
        profile = site.profiles("a") / session.dotted
        await site.parts["node"].stop()
        redis = open_redis(site.settings("node"))
        keys = Keys.read(b64encode(os.urandom(32)).decode(), "VAULT_KEY")
        vault = Vault([RedisShelf(redis, 24), DiskShelf(home / "shelf", 3)], lambda: keys, LARGEST)
        rows = await _repeated(vault, session, profile, "as linked", runs, say)
        (profile / "Default" / "IndexedDB" / "chats.ldb").write_bytes(os.urandom(CHATS * MB))
        rows += await _repeated(vault, session, profile, f"{CHATS} MB of chats", runs, say)
        await redis.aclose()
    return rows


async def _repeated(
    vault: Vault, session: SessionId, profile: Path, which: str, runs: int, say: Say
) -> list[Row]:
    held, sealed, saving, restoring = rows = [
        Row(f"profile {which}: {what}", unit, list[float]())
        for what, unit in (
            ("on the disk", "MB"),
            ("sealed", "MB"),
            ("save to Redis and disk", "ms"),
            ("restore from Redis", "ms"),
        )
    ]
    # What a restore brings back has no caches; it is that which is saved and restored again.
    newest = (await vault.save(session, profile, 0, utc_now())).generation
    shutil.rmtree(profile)
    assert await vault.restore(session, profile, newest) is not None
    for _ in range(runs):
        size = sum(file.stat().st_size for file in profile.rglob("*") if file.is_file())
        began = time.perf_counter()
        saved = await vault.save(session, profile, newest, utc_now())
        took = time.perf_counter() - began
        shutil.rmtree(profile)
        began, newest = time.perf_counter(), saved.generation
        assert await vault.restore(session, profile, newest) is not None
        held.ours.append(size / MB)
        sealed.ours.append(saved.size / MB)
        saving.ours.append(1_000 * took)
        restoring.ours.append(1_000 * (time.perf_counter() - began))
        say(f"snapshots, {which}: {', '.join(f'{row.ours[-1]:.3g} {row.unit}' for row in rows)}")
    return rows
