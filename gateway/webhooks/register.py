"""The register of endpoints: who wants what posted where."""

from __future__ import annotations

from datetime import timedelta

import structlog
from pydantic import ValidationError

from events import subjects
from events.bucket import Entry, Moved
from events.clock import utc_now
from events.envelope import new_id
from events.log import LogAway
from gateway.broker import Broker, BrokerAway, BrokerLog
from gateway.problems import Problem
from gateway.webhooks import signing
from gateway.webhooks.bucket import Bucket
from gateway.webhooks.cipher import Cipher, Sealed
from gateway.webhooks.endpoint import Endpoint, Name
from gateway.webhooks.progress import Progress, key_of

log = structlog.get_logger()

FAMILY = "endpoint"

BOTH_SIGN = timedelta(hours=24)
"""How long a secret that was replaced goes on signing beside the new one."""

RACES = 5


class Register:
    """Every call raises BrokerAway."""

    def __init__(self, broker: Broker, bucket: Bucket, cipher: Cipher, most: int) -> None:
        self._log = BrokerLog(broker)
        self._bucket = bucket
        self._cipher = cipher
        self._most = most

    async def changed(self) -> int:
        """Return a number that is another one after each change."""
        return await self._bucket.tail(FAMILY)

    async def every(self) -> list[Endpoint]:
        """List all endpoints, the oldest first."""
        return _read((await self._bucket.family(FAMILY))[0])

    async def of(self, user: str | None) -> list[Endpoint]:
        """List the endpoints of a user, or (None) those of admins."""
        return _read((await self._bucket.family(_family(user)))[0])

    async def get(self, called: Name) -> Endpoint:
        """Find an endpoint; raises Problem 404."""
        entry = await self._bucket.get(f"{FAMILY}.{called.key}")
        found = _read({} if entry is None else {entry.key: entry})
        if not found:
            raise missing(called.name)
        return found[0]

    async def put(
        self,
        called: Name,
        *,
        url: str,
        events: tuple[str, ...],
        session: str | None,
        secret: str | None,
    ) -> tuple[Endpoint, str | None]:
        """Create or change an endpoint; return it, and its secret if that was made here.

        A new one hears what happens from now on; one that is changed goes on where it
        was. Raises Problem 409 for one too many.
        """
        family = _family(called.user)
        for _ in range(RACES):
            entries, tail = await self._bucket.family(family)
            held = {endpoint.name: endpoint for endpoint in _read(entries)}
            was = held.get(called.name)
            if was is None and len(held) >= self._most:
                detail = f"There are {self._most} webhooks already; delete one first."
                raise Problem(409, "too_many_webhooks", detail)
            made = signing.new_secret() if was is None and secret is None else None
            now = utc_now()
            endpoint_id = was.id if was is not None else new_id()
            endpoint = Endpoint(
                id=endpoint_id,
                user=called.user,
                name=called.name,
                url=url,
                events=events,
                session=session,
                secrets=self._secrets(endpoint_id, was, secret or made),
                created=was.created if was is not None else now,
                updated=now,
            )
            if was is None:
                await self._begin(endpoint_id)
            try:
                raw = endpoint.model_dump_json().encode()
                await self._bucket.write(f"{FAMILY}.{called.key}", raw, tail, family)
            except Moved:
                if was is None:
                    await self._bucket.delete(key_of(endpoint_id))
                continue
            log.info("webhooks.put", webhook=called.name, user=called.user, new=was is None)
            return endpoint, made
        raise BrokerAway

    async def delete(self, called: Name) -> Endpoint:
        """Forget an endpoint and where it stood; raises Problem 404."""
        endpoint = await self.get(called)
        await self._bucket.delete(f"{FAMILY}.{called.key}")
        await self._bucket.delete(key_of(endpoint.id))
        log.info("webhooks.deleted", webhook=called.name, user=called.user)
        return endpoint

    def _secrets(
        self, endpoint_id: str, was: Endpoint | None, secret: str | None
    ) -> tuple[Sealed, ...]:
        held = () if was is None else was.secrets
        if secret is None:
            return held
        until = utc_now() + BOTH_SIGN
        # One that another key sealed could not sign any more.
        old = [
            sealed.model_copy(update={"until": until})
            for sealed in held[:1]
            if sealed.key == self._cipher.id
        ]
        return (self._cipher.seal(secret, endpoint_id), *old)

    async def _begin(self, endpoint_id: str) -> None:
        """Note where the log ends now: an endpoint hears all that comes after its creation."""
        try:
            newest = await self._log.tail(subjects.ALL_EVENTS)
        except LogAway as error:
            raise BrokerAway from error
        await self._bucket.write(key_of(endpoint_id), Progress(position=newest).encoded(), 0)


def missing(name: str) -> Problem:
    """Say that there is no such endpoint."""
    return Problem(404, "not_found", f"There is no webhook {name}.")


def _family(user: str | None) -> str:
    return f"{FAMILY}.{Name(user, 'any').family}"


def _read(entries: dict[str, Entry]) -> list[Endpoint]:
    found: list[Endpoint] = []
    for entry in entries.values():
        try:
            found.append(Endpoint.model_validate_json(entry.raw))
        except ValidationError as error:
            # A newer writer may say what this process does not know.
            log.warning("webhooks.unreadable", key=entry.key, errors=error.error_count())
    return sorted(found, key=lambda endpoint: (endpoint.created, endpoint.id))
