"""A KV bucket, written only on what was read, so that nothing is overwritten unseen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nats.js import JetStreamContext
from nats.js import errors as js_errors

from events.connection import AWAY, BrokerAway
from events.jetstream_log import GUARD_SEQUENCE, GUARD_SUBJECT, WRONG_LAST_SEQUENCE


class Moved(Exception):
    """Somebody else wrote since this was read."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A value and the revision under which it was written."""

    key: str
    raw: bytes
    revision: int


class Bucket:
    """Every call raises BrokerAway."""

    def __init__(
        self, js: Callable[[], JetStreamContext], name: str, forgotten: int | None = None
    ) -> None:
        """`js` gives the JetStream of now; it may raise BrokerAway.

        What was deleted leaves a mark, for ever or for `forgotten` seconds.
        """
        self._js = js
        self.stream = f"KV_{name}"
        self.prefix = f"$KV.{name}."
        self._deleted = {"KV-Operation": "DEL"}
        if forgotten is not None:
            self._deleted["Nats-TTL"] = f"{forgotten}s"

    async def get(self, key: str) -> Entry | None:
        """Return the newest value of a key; None if there is none, or none any more."""
        try:
            # Not a direct get: a follower of a cluster may answer those with old news.
            found = await self._js().get_last_msg(self.stream, self.prefix + key, direct=False)
        except js_errors.NotFoundError:
            return None
        except AWAY as error:
            raise BrokerAway from error
        return Entry(key, found.data, found.seq or 0) if found.data else None

    async def write(self, key: str, raw: bytes, revision: int, family: str | None = None) -> int:
        """Write if the key (or the family) is still at a revision; b"" deletes. Raises Moved."""
        guarded = self.prefix + (key if family is None else f"{family}.>")
        headers = {GUARD_SEQUENCE: str(revision), GUARD_SUBJECT: guarded}
        if not raw:
            headers |= self._deleted
        try:
            ack = await self._js().publish(self.prefix + key, raw, headers=headers)
        except js_errors.APIError as error:
            if error.err_code == WRONG_LAST_SEQUENCE:
                raise Moved(key) from None
            raise BrokerAway from error
        except AWAY as error:
            raise BrokerAway from error
        return ack.seq

    async def delete(self, key: str) -> None:
        """Delete, whatever it is now."""
        try:
            await self._js().publish(self.prefix + key, b"", headers={**self._deleted})
        except AWAY as error:
            raise BrokerAway from error
