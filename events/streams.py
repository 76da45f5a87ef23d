"""The streams: what the broker keeps, for how long, and how it refuses."""

from __future__ import annotations

from nats.js import JetStreamContext
from nats.js import errors as js_errors
from nats.js.api import (
    DiscardPolicy,
    KeyValueConfig,
    ObjectStoreConfig,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)

from events import subjects
from events.settings import Settings

MAX_CONSUMERS = 100_000
"""nats-server 2.15.1 refuses consumer 1,001 even when the stream says -1, so say a number."""

MAX_BYTES = 1_000_000
"""Largest event or command: a message of 64k characters in UTF-8, with room."""

BUCKETS = (
    *(subjects.LEASES, subjects.TURNS),
    *(subjects.KEYS, subjects.IDEMPOTENCY, subjects.HOOKS),
)

NO_PEERS = frozenset({10005, 10074})
"""A cluster without room for so many copies; a server that is in no cluster at all."""


class TooFewServers(Exception):
    """NATS cannot keep as many copies as `REPLICAS` says; the message says what to do."""

    def __init__(self, replicas: int, reason: str) -> None:
        super().__init__(
            f"REPLICAS is {replicas}, and NATS has no {replicas} servers with room that are one "
            f"cluster ({reason}): start them, or set REPLICAS to how many there are"
        )


def configs(settings: Settings) -> list[StreamConfig]:
    """Return the three streams as they should be."""
    return [
        # One stream for all events, because the fence reaches only inside a stream.
        StreamConfig(
            name=subjects.EVENTS,
            subjects=[subjects.ALL_EVENTS],
            retention=RetentionPolicy.LIMITS,
            allow_msg_ttl=True,
            storage=StorageType.FILE,
            num_replicas=settings.replicas,
            max_consumers=MAX_CONSUMERS,
            max_msg_size=MAX_BYTES,
            duplicate_window=settings.dedupe_window,
        ),
        # No max_age: an accepted send must not vanish in silence.
        StreamConfig(
            name=subjects.COMMANDS,
            subjects=[subjects.ALL_COMMANDS],
            retention=RetentionPolicy.WORK_QUEUE,
            discard=DiscardPolicy.NEW,
            discard_new_per_subject=True,
            max_msgs_per_subject=settings.max_pending_sends,
            storage=StorageType.FILE,
            num_replicas=settings.replicas,
            max_consumers=MAX_CONSUMERS,
            max_msg_size=MAX_BYTES,
            duplicate_window=settings.dedupe_window,
        ),
        StreamConfig(
            name=subjects.DEAD,
            subjects=[subjects.ALL_DEAD],
            max_age=30 * 86_400,
            # Of a webhook that stays down, or of a session: then the oldest go.
            max_msgs_per_subject=10_000,
            storage=StorageType.FILE,
            num_replicas=settings.replicas,
            max_consumers=MAX_CONSUMERS,
            max_msg_size=MAX_BYTES,
            duplicate_window=settings.dedupe_window,
        ),
    ]


async def declare(js: JetStreamContext, settings: Settings) -> None:
    """Create or update every stream and bucket in place. Safe to call at every start.

    What is there keeps what it holds: another `REPLICAS` makes copies, or drops them, under
    running readers, and consumers that name no number of their own follow their stream.
    Raises TooFewServers, and what JetStream raises.
    """
    try:
        for config in configs(settings):
            await _stream(js, config)
        for bucket in BUCKETS:
            await _bucket(js, bucket, settings)
        await _media(js, settings)
    except js_errors.APIError as error:
        if error.err_code in NO_PEERS:
            raise TooFewServers(settings.replicas, error.description or "") from error
        raise


async def _stream(js: JetStreamContext, wanted: StreamConfig) -> None:
    try:
        held = await js.stream_info(wanted.name or "")
    except js_errors.NotFoundError:
        await js.add_stream(wanted)
    else:
        if _differs(held.config, wanted):
            await js.update_stream(wanted)


def _differs(held: StreamConfig, wanted: StreamConfig) -> bool:
    fields = (
        "subjects",
        "num_replicas",
        "duplicate_window",
        "max_msgs_per_subject",
        "max_age",
        "max_msg_size",
    )
    return any(
        getattr(wanted, field) is not None and getattr(held, field) != getattr(wanted, field)
        for field in fields
    )


async def _media(js: JetStreamContext, settings: Settings) -> None:
    kept = settings.media_days * 86_400
    try:
        held = await js.stream_info(f"OBJ_{subjects.MEDIA}")
    except js_errors.NotFoundError:
        await js.create_object_store(
            subjects.MEDIA, config=ObjectStoreConfig(ttl=kept, replicas=settings.replicas)
        )
    else:
        await _change(js, held.config, max_age=kept, num_replicas=settings.replicas)


async def _bucket(js: JetStreamContext, bucket: str, settings: Settings) -> None:
    try:
        held = await js.stream_info(f"KV_{bucket}")
    except js_errors.NotFoundError:
        await js.create_key_value(
            KeyValueConfig(
                bucket=bucket,
                history=1,
                ttl=86_400 if bucket == subjects.IDEMPOTENCY else None,
                replicas=settings.replicas,
            )
        )
    else:
        await _change(js, held.config, num_replicas=settings.replicas)


async def _change(js: JetStreamContext, held: StreamConfig, **wanted: float) -> None:
    """Change these fields of a stream that nats-py made, and nothing else."""
    if any(getattr(held, field) != value for field, value in wanted.items()):
        await js.update_stream(held.evolve(**wanted))
