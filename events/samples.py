"""One of everything that goes over the wire: for golden files, and as the document's examples."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from events import content, live, message, pool
from events import session_events as e
from events.envelope import Payload

AT = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
LATER = AT + timedelta(seconds=20)
CHAT = "491701234567@c.us"
KEY = f"true_{CHAT}_3EB0A1B2C3D4E5F6A7B8C9"
WA_ID = "3EB0A1B2C3D4E5F6A7B8C9"
TOTALS = e.Totals(received=3, sent=2, failed=1, reconnections=4, message_version=9, watermark=AT)

MEDIA = content.Media(
    kind="image",
    object="ada.shop/out/0123",
    mime="image/png",
    size=68,
    sha256="a1" * 32,
    name="a picture.png",
)
KEPT = content.Kept(
    mime="image/png",
    name="a picture.png",
    size=68,
    sha256="a1" * 32,
    object="ada.shop/in/3EB0FFFF",
    reason="too_large",
)

# Every field has a value that is not its default, so that a lost one shows.
SAMPLES: tuple[Payload, ...] = (
    e.Start(),
    e.Stop(),
    e.Restart(),
    e.Logout(),
    e.Delete(),
    e.Reset(fresh=True),
    e.Takeover(),
    e.RefreshQr(),
    e.Registered(user="ada", bot="shop", start=False),
    e.Claimed(life="6f1c", totals=TOTALS),
    e.Queued(reason="memory", fresh=True, memory_mb=900),
    e.Starting(attempt=2, deadline=LATER),
    e.LoadingSeen(percent=75, message="Loading your chats"),
    e.Pairing(attempt=1, expires=LATER),
    e.QrRefreshed(attempt=2, expires=LATER),
    e.PairingCodeAsked(expires=LATER),
    e.QrExhausted(attempts=6),
    e.Authenticated(deadline=LATER),
    e.AuthFailed(reason="rejected"),
    e.Ready(phone=CHAT, lid="7@lid", push_name="Ada 😀", again=True),
    e.Offline(reason="TIMEOUT", deadline=LATER),
    e.Crashed(reason="page_crashed", detail="the renderer ended", memory_mb=512),
    e.BackingOff(attempt=3, max_attempts=5, delay=3.951, until=LATER),
    e.Suspended(failures=6, until=LATER),
    e.Probing(failures=6, rejected=2),
    e.Recovered(failures=6, rejected=2),
    e.OperationsPaused(failures=5, rejected=2, until=LATER),
    e.OperationsProbed(rejected=2),
    e.OperationsResumed(rejected=2),
    e.Parked(reason="CONFLICT"),
    e.Rested(reason="qr_exhausted"),
    e.Blocked(reason="TOS_BLOCK"),
    e.LoggedOut(reason="UNPAIRED", confirmed=False),
    e.Stopped(reason="command", totals=TOTALS),
    e.Removed(reason="stale", totals=TOTALS),
    e.ProfileSaved(generation=3, bytes=1_048_576, totals=TOTALS),
    e.ProfileRestored(generation=2, source="redis", older=True),
    message.Send(
        message="order-17",
        to=CHAT,
        body="Hello ä 😀",
        deadline=LATER,
        content=MEDIA,
        quoted="3EB0FFFF",
    ),
    message.Sending(
        message="order-17",
        wa_id=WA_ID,
        to=CHAT,
        body="Hello ä 😀",
        content=MEDIA,
        quoted="3EB0FFFF",
    ),
    message.Sent(message="order-17", wa_id=WA_ID, key=KEY, chat=CHAT, ack=1, at=AT),
    message.Failed(message="order-17", to=CHAT, reason="not_on_whatsapp", detail="no account"),
    message.Expired(message="order-17", to=CHAT, deadline=AT),
    message.Unresolved(message="order-17", to=CHAT, wa_id=WA_ID, reason="not_ready_in_time"),
    message.Received(
        wa_id=WA_ID,
        key=f"false_{CHAT}_{WA_ID}",
        chat="4917-123@g.us",
        sender="4917-123@g.us",
        author=CHAT,
        from_me=True,
        type="image",
        body="Hello ä 😀",
        at=AT,
        push_name="Ada",
        quoted="3EB0FFFF",
        media=KEPT,
    ),
    message.Delivered(wa_id=WA_ID, chat=CHAT, message="order-17"),
    message.Read(wa_id=WA_ID, chat=CHAT, message="order-17"),
    message.Played(wa_id=WA_ID, chat=CHAT, message="order-17"),
    pool.Create(bot="shop", fresh=True, start=False),
    pool.NodeStarted(sessions=7, max_sessions=100, max_per_user=5, software="0.1.0"),
    pool.NodeStopped(reason="asked"),
    pool.NodeDraining(left=3, total=10),
    pool.CreateRefused(user="ada", bot="shop", reason="user_limit", detail="5 is the limit"),
    pool.LaunchesPaused(reason="unreachable", failures=3, retry_in=30.5, rejected=2),
    pool.LaunchesProbed(session="ada-shop", rejected=2, failures=3),
    pool.LaunchesResumed(rejected=2),
    live.Qr(code="2@golden", attempt=2, expires=LATER),
    live.QueuePosition(position=3),
    live.Refused(
        command="c1", reason="suspended", detail="the breaker is open", status=503, retry_after=1.5
    ),
    live.Settled(command="c1", state="stopped"),
    live.Usage(memory_mb=512, cpu=0.25, mailbox=2),
)

# What else a send may hold.
SHAPES: dict[str, Payload] = {
    word: message.Send(message="order-17", to=CHAT, body="", deadline=LATER, content=held)
    for word, held in {
        "location": content.Location(latitude=52.5, longitude=13.4, name="Bar", address="A 1"),
        "contact": content.Contact(name="Ada", phone=CHAT),
        "reaction": content.Reaction(target=KEY, emoji="👍"),
        "deletion": content.Deletion(target=WA_ID),
        "media": MEDIA,
    }.items()
}
