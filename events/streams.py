"""The streams: what the broker keeps, for how long, and how it refuses."""

from __future__ import annotations

from nats.js import JetStreamContext
from nats.js.api import (
    DiscardPolicy,
    KeyValueConfig,
    ObjectStoreConfig,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)
from nats.js.errors import NotFoundError

from events import subjects
from events.settings import Settings

MAX_CONSUMERS = 100_000
"""nats-server 2.15.1 refuses consumer 1,001 even when the stream says -1, so say a number."""

MAX_BYTES = 1_000_000
"""Largest event or command: a message of 64k characters in UTF-8, with room."""


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
            storage=StorageType.FILE,
            num_replicas=settings.replicas,
            max_consumers=MAX_CONSUMERS,
            max_msg_size=MAX_BYTES,
            duplicate_window=settings.dedupe_window,
        ),
    ]


async def declare(js: JetStreamContext, settings: Settings) -> None:
    """Create or update every stream and bucket in place. Safe to call at every start."""
    for config in configs(settings):
        try:
            held = await js.stream_info(config.name or "")
        except NotFoundError:
            await js.add_stream(config)
        else:
            if _differs(held.config, config):
                await js.update_stream(config)
    for bucket in (subjects.LEASES, subjects.KEYS, subjects.IDEMPOTENCY, subjects.HOOKS):
        await _bucket(js, bucket, settings)
    await _media(js, settings)


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
    except NotFoundError:
        await js.create_object_store(
            subjects.MEDIA, config=ObjectStoreConfig(ttl=kept, replicas=settings.replicas)
        )
    else:
        if held.config.max_age != kept:
            await js.update_stream(held.config.evolve(max_age=kept))


async def _bucket(js: JetStreamContext, bucket: str, settings: Settings) -> None:
    try:
        await js.stream_info(f"KV_{bucket}")
    except NotFoundError:
        await js.create_key_value(
            KeyValueConfig(
                bucket=bucket,
                history=1,
                ttl=86_400 if bucket == subjects.IDEMPOTENCY else None,
                replicas=settings.replicas,
            )
        )
