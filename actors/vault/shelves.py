"""Where sealed snapshots lie: on the node's disk, and in Redis for every node."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Literal, Protocol, TypeVar, cast

from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from events.redis import AWAY, Redis, connect
from events.settings import Settings
from events.subjects import BadToken, SessionId

Source = Literal["redis", "disk"]
T = TypeVar("T")

_FILE = re.compile(r"([0-9]+)\.snapshot")


class ShelfAway(Exception):
    """A shelf could not be read or written; the message says which and why."""


class Shelf(Protocol):
    """Snapshots by session and generation. All raise ShelfAway."""

    name: Source
    keep: int
    """Snapshots of a session that stay here, the newest."""

    async def put(self, session: SessionId, generation: int, sealed: bytes) -> None:
        """Keep a snapshot, whole or not at all; one of the same generation is replaced."""
        ...

    async def get(self, session: SessionId, generation: int) -> bytes | None:
        """Return a snapshot, or None where there is none."""
        ...

    async def generations(self, session: SessionId) -> list[int]:
        """List what there is, newest first."""
        ...

    async def drop(self, session: SessionId, generation: int) -> None:
        """Remove a snapshot; one that is not there is no error."""
        ...

    async def forget(self, session: SessionId) -> None:
        """Remove every snapshot of a session."""
        ...

    async def sessions(self) -> list[SessionId]:
        """List the sessions that have snapshots here, by name."""
        ...


class DiskShelf:
    """A folder a session, a file a generation. Nobody but their owner may read them."""

    name: Source = "disk"

    def __init__(self, folder: Path, keep: int) -> None:
        self._folder, self.keep = folder, keep

    async def put(self, session: SessionId, generation: int, sealed: bytes) -> None:
        """See Shelf.put."""
        await _on_disk(lambda: _write(self._file(session, generation), sealed))

    async def get(self, session: SessionId, generation: int) -> bytes | None:
        """See Shelf.get."""
        return await _on_disk(lambda: _read(self._file(session, generation)))

    async def generations(self, session: SessionId) -> list[int]:
        """See Shelf.generations."""
        names = await _on_disk(lambda: _names(self._of(session)))
        found = (_FILE.fullmatch(name) for name in names)
        return sorted((int(match[1]) for match in found if match), reverse=True)

    async def drop(self, session: SessionId, generation: int) -> None:
        """See Shelf.drop."""
        await _on_disk(lambda: self._file(session, generation).unlink(missing_ok=True))

    async def forget(self, session: SessionId) -> None:
        """See Shelf.forget."""
        await _on_disk(lambda: _remove(self._of(session)))

    async def sessions(self) -> list[SessionId]:
        """See Shelf.sessions."""
        return _read_ids(await _on_disk(lambda: _names(self._folder)))

    def _of(self, session: SessionId) -> Path:
        return self._folder / session.dotted

    def _file(self, session: SessionId, generation: int) -> Path:
        return self._of(session) / f"{generation:08}.snapshot"


# In one step, or a crash between the two leaves a hash that never goes.
_PUT = """
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
"""


class RedisShelf:
    """A hash a session, a field a generation.

    The whole hash goes `hours` after the last snapshot: what is lost here still
    lies on a disk. One key a session keeps every command inside one slot of a cluster.
    """

    name: Source = "redis"
    keep = 1  # It is memory; an older one lies on a disk.

    def __init__(self, redis: Redis, hours: float) -> None:
        """`redis` must not decode: snapshots are bytes."""
        self._redis, self._ttl = redis, round(hours * 3_600)
        self._put = redis.register_script(_PUT)

    async def put(self, session: SessionId, generation: int, sealed: bytes) -> None:
        """See Shelf.put."""
        await _in_redis(self._put(keys=[_key(session)], args=[generation, sealed, self._ttl]))

    async def get(self, session: SessionId, generation: int) -> bytes | None:
        """See Shelf.get."""
        found = await _in_redis(self._redis.hget(_key(session), str(generation)))
        # The types of redis-py allow for a client that decodes; this one does not.
        return found.encode() if isinstance(found, str) else found

    async def generations(self, session: SessionId) -> list[int]:
        """See Shelf.generations."""
        fields = await _in_redis(self._redis.hkeys(_key(session)))
        return sorted((int(field) for field in fields), reverse=True)

    async def drop(self, session: SessionId, generation: int) -> None:
        """See Shelf.drop."""
        await _in_redis(self._redis.hdel(_key(session), str(generation)))

    async def forget(self, session: SessionId) -> None:
        """See Shelf.forget."""
        await _in_redis(self._redis.unlink(_key(session)))

    async def sessions(self) -> list[SessionId]:
        """See Shelf.sessions."""
        found = cast("AsyncIterator[bytes | str]", self._redis.scan_iter("wa:vault:{*}", 1_000))
        return _read_ids(await _in_redis(_names_in(found)))


async def _names_in(keys: AsyncIterator[bytes | str]) -> list[str]:
    # Not by cursor: each server of a cluster has one of its own. A key may come twice.
    return list({_decoded(key)[len("wa:vault:{") : -1] async for key in keys})


def open_redis(settings: Settings) -> Redis:
    """Open a pool of the vault's own: it carries megabytes and no text."""
    # A connection that had died meanwhile is opened anew; a Redis that is away is said at
    # once, and the disk has the snapshot.
    return connect(settings, decode=False, timeout=30, retry=Retry(NoBackoff(), 1))


def _decoded(key: bytes | str) -> str:
    return key if isinstance(key, str) else key.decode()


def _key(session: SessionId) -> str:
    return f"wa:vault:{{{session.dotted}}}"


def _read_ids(names: list[str]) -> list[SessionId]:
    found: list[SessionId] = []
    for name in sorted(names):
        try:
            found.append(SessionId.parse(name))
        except BadToken:
            continue  # Somebody else's: a folder or a key that only looks alike.
    return found


async def _in_redis(work: Awaitable[T]) -> T:
    try:
        return await work
    except AWAY as error:
        raise ShelfAway(f"Redis: {error}") from error


async def _on_disk(work: Callable[[], T]) -> T:
    try:
        return await asyncio.to_thread(work)
    except OSError as error:
        raise ShelfAway(f"disk: {error.strerror or type(error).__name__}") from error


def _names(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        return []


def _read(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None


def _write(file: Path, sealed: bytes) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = file.with_suffix(".draft")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as written:
            written.write(sealed)
            written.flush()
            os.fsync(written.fileno())
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
