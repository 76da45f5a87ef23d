"""The ledger finds what is planted: a check that cannot fail would be a defect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from events import codec
from events import session_events as e
from events.envelope import Payload
from events.message import Delivered, Expired, Failed, Received, Sending, Sent, Unresolved
from tests.faults.evidence import Answer, Entry, Evidence, Ledger, Logged, OnPhone, Row, Written
from tests.faults.ledger import compare, gone_along

OWNER = "ann.bot"
FRIEND = "15550001"
AT = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Story:
    """A small true story, to be told wrongly in one place."""

    ledger: Ledger = field(default_factory=Ledger)
    phone: list[OnPhone] = field(default_factory=list[OnPhone])
    log: list[Logged] = field(default_factory=list[Logged])
    history: list[Entry] = field(default_factory=list[Entry])
    rows: list[Row] = field(default_factory=list[Row])
    unread: list[str] = field(default_factory=list[str])

    def log_(self, payload: Payload, **changes: Any) -> Logged:
        """Append an event with the version that is due."""
        family, kind = codec.type_of(payload).split(".")[1:3]
        version = sum(1 for event in self.log if event.family == family) + 1
        position = len(self.log) + 1
        logged = Logged(
            position,
            f"event-{position}",
            OWNER,
            family,
            kind,
            version,
            payload.model_dump(mode="json"),
            AT + timedelta(seconds=position),
        )
        self.log.append(replace(logged, **changes))
        return self.log[-1]

    def phone_(self, text: str, wa_id: str, *, outgoing: bool = True) -> None:
        """Put a message on the phone."""
        place = len(self.phone) + 1
        self.phone.append(OnPhone(place, OWNER, wa_id, f"{FRIEND}@c.us", text, outgoing))

    def send(self, key: str) -> None:
        """Send a message, all the way."""
        self.ledger.send(key, OWNER, FRIEND).told(Answer.ACCEPTED, "200")
        self.log_(Sending(message=key, wa_id=f"3EB0{key}", to=f"{FRIEND}@c.us", body=key))
        self.phone_(key, f"3EB0{key}")
        self.log_(sent(key))
        self.log_(Delivered(wa_id=f"3EB0{key}", chat="c", message=key))
        self.history.append(Entry(OWNER, key, f"3EB0{key}", "delivered", key))

    def write(self, wa_id: str) -> None:
        """Receive a message, all the way."""
        self.ledger.wrote(Written(wa_id, OWNER, FRIEND, "hi"))
        self.phone_("hi", wa_id, outgoing=False)
        self.log_(received(wa_id))
        self.history.append(Entry(OWNER, None, wa_id, "received", "hi"))

    def evidence(self) -> Evidence:
        """Hand it in."""
        return Evidence(
            self.ledger,
            tuple(self.phone),
            tuple(self.log),
            tuple(self.history),
            tuple(self.rows),
            unread=tuple(self.unread),
        )


def sent(key: str, wa_id: str = "") -> Sent:
    wa_id = wa_id or f"3EB0{key}"
    return Sent(message=key, wa_id=wa_id, key=f"k_{wa_id}", chat="c", ack=1, at=AT)


def received(wa_id: str, **changes: Any) -> Received:
    told = {"key": "k", "chat": "c", "sender": "s", "body": "hi", "at": AT}
    return Received(wa_id=wa_id, **{**told, **changes})


def a_story() -> Story:
    """Two sends, two received, a session that is ready."""
    story = Story()
    story.log_(e.Registered(user="ann", bot="bot"))
    story.log_(e.Claimed(life="1", totals=e.Totals()))
    story.log_(e.Queued(reason="claimed"))
    story.log_(e.Starting(attempt=1, deadline=AT))
    story.log_(e.Authenticated(deadline=AT))
    story.log_(e.Ready(phone="1", lid=None, push_name=None))
    story.send("one")
    story.send("two")
    story.write("A1")
    story.write("A2")
    story.rows.append(Row(OWNER, "ready", 6, received=2, sent=2, failed=0))
    return story


def test_a_true_story_is_clean() -> None:
    findings = compare(a_story().evidence())

    assert findings.clean, findings.told()


def test_named_outcomes_and_a_late_echo_are_clean() -> None:
    story = a_story()
    for key, outcome in (
        ("refused", Failed(message="refused", to="c", reason="rejected")),
        ("late", Expired(message="late", to="c", deadline=AT)),
    ):
        story.ledger.send(key, OWNER, FRIEND).told(Answer.ACCEPTED, "202")
        story.log_(outcome)
        story.history.append(Entry(OWNER, key, None, outcome.kind, ""))
    story.ledger.send("echo", OWNER, FRIEND).told(Answer.ACCEPTED, "202")
    story.log_(Sending(message="echo", wa_id="3EB0echo", to="c", body="echo"))
    story.log_(Unresolved(message="echo", to="c", wa_id="3EB0echo", reason="not_ready_in_time"))
    story.phone_("echo", "3EB0echo")
    story.log_(sent("echo"))
    story.history.append(Entry(OWNER, "echo", "3EB0echo", "sent", "echo"))
    story.rows[0] = replace(story.rows[0], sent=3, failed=2)

    findings = compare(story.evidence())

    assert findings.clean, findings.told()


Wrong = Callable[[Story], object]


def _unheard(story: Story) -> None:
    story.ledger.send("three", OWNER, FRIEND).told(Answer.ACCEPTED, "202")


def _unanswered(story: Story) -> None:
    story.ledger.send("three", OWNER, FRIEND).told(Answer.UNKNOWN, "ReadTimeout")


def _refused_yet_there(story: Story) -> None:
    story.ledger.send("three", OWNER, FRIEND).told(Answer.REFUSED, "409")
    story.phone_("three", "3EB0three")


def _unasked_on_the_log(story: Story) -> None:
    story.log_(Sending(message="three", wa_id="3EB0three", to="c", body="three"))


def _expired_yet_there(story: Story) -> None:
    story.ledger.send("three", OWNER, FRIEND).told(Answer.ACCEPTED, "202")
    story.log_(Expired(message="three", to="c", deadline=AT))
    story.phone_("three", "3EB0three")


def _on_the_phone_without_outcome(story: Story) -> None:
    story.ledger.send("three", OWNER, FRIEND).told(Answer.ACCEPTED, "202")
    story.log_(Sending(message="three", wa_id="3EB0three", to="c", body="three"))
    story.phone_("three", "3EB0three")


def _drop(story: Story, where: str, name: str) -> None:
    kept = [each for each in getattr(story, where) if name not in str(each)]
    assert len(kept) < len(getattr(story, where))
    setattr(story, where, kept)


def _swap(story: Story, outgoing: bool) -> None:
    mine = [i for i, m in enumerate(story.phone) if m.outgoing is outgoing]
    one, two = story.phone[mine[0]], story.phone[mine[1]]
    story.phone[mine[0]] = replace(one, place=two.place)
    story.phone[mine[1]] = replace(two, place=one.place)


def _row(story: Story, **changes: Any) -> None:
    story.rows = [replace(story.rows[0], **changes)]


def _line(story: Story) -> None:
    story.history[0] = replace(story.history[0], status="queued")


DEFECTS: list[tuple[str, str, Wrong]] = [
    ("lost", "an accepted send is nowhere", _unheard),
    ("lost", "a sent one is gone from the phone", lambda s: _drop(s, "phone", "3EB0two")),
    ("lost", "a written one was not received", lambda s: _drop(s, "log", "'wa_id': 'A2'")),
    ("doubled", "one key under two ids on the phone", lambda s: s.phone_("one", "3EB0other")),
    (
        "doubled",
        "two intents with two ids",
        lambda s: s.log_(Sending(message="one", wa_id="3EB0x", to="c", body="one")),
    ),
    ("doubled", "sent twice on the log", lambda s: s.log_(sent("one"))),
    (
        "doubled",
        "failed and sent",
        lambda s: s.log_(Failed(message="one", to="c", reason="rejected")),
    ),
    ("doubled", "received twice", lambda s: s.log_(received("A1"))),
    ("doubled", "our own one received", lambda s: s.log_(received("3EB0one", from_me=True))),
    ("doubled", "one event stored twice", lambda s: s.log_(sent("two"), id="event-9")),
    ("doubled", "two lines in the history", lambda s: s.history.append(s.history[0])),
    ("phantom", "on the phone, asked for by nobody", lambda s: s.phone_("three", "3EB0three")),
    ("phantom", "refused, and on the phone", _refused_yet_there),
    ("phantom", "on the log, asked for by nobody", _unasked_on_the_log),
    ("phantom", "sent on the log only", lambda s: _drop(s, "phone", "3EB0two")),
    ("phantom", "expired, and on the phone", _expired_yet_there),
    ("phantom", "received, written by nobody", lambda s: s.log_(received("A3"))),
    ("stale", "a hole in the versions", lambda s: _drop(s, "log", "event-8")),
    ("stale", "an event that cannot follow", lambda s: s.log_(e.Pairing(attempt=1, expires=AT))),
    ("stale", "a row behind", lambda s: _row(s, version=5)),
    ("stale", "a row in another state", lambda s: _row(s, state="offline")),
    ("stale", "a total that is off", lambda s: _row(s, sent=1)),
    ("stale", "no row", lambda s: s.rows.clear()),
    ("stale", "a history that cannot be read", lambda s: s.unread.append("ann.bot: 500")),
    ("stale", "a line missing in the history", lambda s: _drop(s, "history", "'two'")),
    ("stale", "a line with another status", _line),
    ("stale", "a line too many", lambda s: s.history.append(Entry(OWNER, "x", "y", "sent", "x"))),
    ("stale", "on the phone without an outcome", _on_the_phone_without_outcome),
    ("disordered", "two sends changed places", lambda s: _swap(s, outgoing=True)),
    ("disordered", "two received changed places", lambda s: _swap(s, outgoing=False)),
    ("unsettled", "a client that does not know", _unanswered),
    ("unsettled", "accepted without an end", _unheard),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "what", "wrong"), DEFECTS, ids=[f"{name}: {what}" for name, what, _ in DEFECTS]
)
def test_a_planted_defect_is_found(name: str, what: str, wrong: Wrong) -> None:
    story = a_story()

    wrong(story)

    assert compare(story.evidence()).lists()[name], what


def test_what_the_history_no_longer_keeps_is_not_missed() -> None:
    story = a_story()
    story.history = story.history[-2:]

    assert compare(replace(story.evidence(), kept=2)).clean
    assert not compare(replace(story.evidence(), kept=3)).clean


def test_what_a_lost_machine_had_just_taken_in_is_told_apart_from_what_is_lost() -> None:
    story = a_story()
    for wa_id, at in (("B1", 99.5), ("B2", 98.5), ("B3", 100.5)):
        story.ledger.wrote(Written(wa_id, OWNER, FRIEND, "hi", at))
    story.ledger.gone.append(100.0)

    evidence = story.evidence()

    assert gone_along(evidence) == ["B1"]
    assert [line.partition(":")[0] for line in compare(evidence).lost] == ["B2", "B3"]


def test_an_unknown_answer_is_settled_by_an_acceptance_only() -> None:
    send = Ledger().send("one", OWNER, FRIEND)

    send.told(Answer.UNKNOWN, "ReadTimeout")
    send.told(Answer.REFUSED, "409")
    assert send.answer is Answer.UNKNOWN, "the first try may have been stored"
    send.told(Answer.ACCEPTED, "200")

    assert send.answer is Answer.ACCEPTED
