"""The comparison: six lists that must be empty. Pure.

| List | A line in it means |
|---|---|
| lost | accepted, but neither on the phone nor ended in a named outcome; or sent to us and not on the log |
| doubled | one key under two WhatsApp ids, one id or event twice on the log or in the history |
| phantom | on the phone or on the log without a client that asked; said to be sent and not on the phone |
| stale | the log has holes or illegal transitions, or a read model says other than the log's fold |
| disordered | a chat's messages in another order than they were accepted, or were written |
| unsettled | a client that still does not know, or a send without an outcome |
"""  # noqa: E501

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields

from events import codec, session
from events.envelope import Envelope
from tests.faults.evidence import Answer, Entry, Evidence, Logged, OnPhone

ENDINGS = frozenset({"failed", "expired", "unresolved"})
OUTCOMES = ENDINGS | {"sent"}
TICKS = {"sent": 1, "delivered": 2, "read": 3, "played": 4}
WORDS = {tick: word for word, tick in TICKS.items()}


@dataclass(frozen=True, slots=True)
class Findings:
    """What is wrong, a sentence each."""

    lost: list[str] = field(default_factory=list[str])
    doubled: list[str] = field(default_factory=list[str])
    phantom: list[str] = field(default_factory=list[str])
    stale: list[str] = field(default_factory=list[str])
    disordered: list[str] = field(default_factory=list[str])
    unsettled: list[str] = field(default_factory=list[str])

    @property
    def clean(self) -> bool:
        """Whether all lists are empty."""
        return not any(self.lists().values())

    def lists(self) -> dict[str, list[str]]:
        """Name each list."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def besides(self, known: Findings) -> Findings:
        """Leave out what was found before."""
        before = known.lists()
        return Findings(
            **{
                name: [line for line in lines if line not in before[name]]
                for name, lines in self.lists().items()
            }
        )

    def told(self, most: int = 5) -> str:
        """Say what is wrong, the first few of each."""
        lines = [f"{name} ({len(found)}): {found[:most]}" for name, found in self.lists().items()]
        return "\n".join(line for line in lines if "(0)" not in line) or "clean"


def compare(evidence: Evidence) -> Findings:
    """Hold the four sources against each other."""
    told = Told(evidence)
    return Findings(
        lost=list(lost(evidence, told)),
        doubled=list(doubled(evidence, told)),
        phantom=list(phantom(evidence, told)),
        stale=list(stale(evidence, told)),
        disordered=list(disordered(evidence)),
        unsettled=list(unsettled(evidence, told)),
    )


class Told:
    """The log and the phone, by key and by id."""

    def __init__(self, evidence: Evidence) -> None:
        self.intents: dict[str, list[str]] = defaultdict(list)
        self.outcomes: dict[str, list[Logged]] = defaultdict(list)
        self.received: dict[tuple[str, str], list[Logged]] = defaultdict(list)
        self.ticks: dict[tuple[str, str], int] = defaultdict(int)
        self.texts: dict[str, list[OnPhone]] = defaultdict(list)
        self.ids: dict[tuple[str, str, bool], OnPhone] = {}
        for event in evidence.log:
            self._take(event)
        for message in evidence.phone:
            self.ids[message.session, message.id, message.outgoing] = message
            if message.outgoing:
                self.texts[message.text].append(message)

        # Plain from here on: a look at what is not there must not make it.
        for name, held in vars(self).items():
            setattr(self, name, dict(held))

    def _take(self, event: Logged) -> None:
        if event.family != "message":
            return
        if event.kind == "sending":
            self.intents[event.data["message"]].append(event.data["wa_id"])
        elif event.kind in OUTCOMES:
            self.outcomes[event.data["message"]].append(event)
        elif event.kind == "received":
            self.received[event.session, event.data["wa_id"]].append(event)
        if event.kind in TICKS:
            place = (event.session, event.data["wa_id"])
            tick = max(TICKS[event.kind], event.data.get("ack") or 0)
            self.ticks[place] = max(self.ticks[place], tick)

    def last(self, key: str) -> str:
        """Return the last word on a send: an outcome, `sending`, or nothing."""
        kinds = [event.kind for event in self.outcomes.get(key, ())]
        if "sent" in kinds:
            return "sent"
        return kinds[-1] if kinds else ("sending" if key in self.intents else "")


def lost(evidence: Evidence, told: Told) -> Iterator[str]:
    """Find what was taken and is nowhere."""
    for send in evidence.ledger.sends.values():
        if send.answer is not Answer.ACCEPTED or told.texts.get(send.text):
            continue
        if told.last(send.key) not in ENDINGS:
            yield f"{send.key}: accepted, not on the phone, on the log {told.last(send.key)!r}"
    for message in evidence.ledger.written.values():
        known = (message.session, message.id) in told.received
        if not known and not evidence.ledger.went_along(message):
            yield f"{message.id}: written to {message.session}, not received on the log"


def gone_along(evidence: Evidence) -> list[str]:
    """List what was written in the last second of a lost machine, and is lost with it."""
    received = {
        (event.session, event.data["wa_id"])
        for event in evidence.log
        if (event.family, event.kind) == ("message", "received")
    }
    return [
        message.id
        for message in evidence.ledger.written.values()
        if (message.session, message.id) not in received and evidence.ledger.went_along(message)
    ]


def doubled(evidence: Evidence, told: Told) -> Iterator[str]:
    """Find what is there more often than once."""
    for text, messages in told.texts.items():
        if len(messages) > 1:
            yield f"{text}: on the phone under {[message.id for message in messages]}"
    for key, ids in told.intents.items():
        if len(ids) > 1:
            yield f"{key}: `sending` {len(ids)} times, under {sorted(set(ids))}"
    for key, events in told.outcomes.items():
        # An echo may settle what could not be told at first; nothing else is said twice.
        kinds = [event.kind for event in events]
        if len(kinds) > 1 and kinds != ["unresolved", "sent"]:
            yield f"{key}: ended {len(kinds)} times: {kinds}"
    for (owner, wa_id), events in told.received.items():
        if len(events) > 1:
            yield f"{wa_id}: received {len(events)} times by {owner}"
        if (owner, wa_id, True) in told.ids:
            yield f"{wa_id}: sent by {owner} and received as well"
    yield from _twice("event", (event.id for event in evidence.log))
    yield from _twice("history", (_name(entry) for entry in evidence.history))


def phantom(evidence: Evidence, told: Told) -> Iterator[str]:
    """Find what nobody asked for, or what is said to be where it is not."""
    asked = {
        send.key for send in evidence.ledger.sends.values() if send.answer is not Answer.REFUSED
    }
    for text, messages in told.texts.items():
        if text not in asked:
            yield f"{text}: on the phone ({messages[0].id}), asked for by nobody"
    for key in dict.fromkeys([*told.intents, *told.outcomes]):
        if key not in asked and told.last(key):
            yield f"{key}: on the log as {told.last(key)!r}, asked for by nobody"
    for key, events in told.outcomes.items():
        for event in events:
            if event.kind == "sent" and (event.session, event.data["wa_id"], True) not in told.ids:
                yield f"{key}: sent on the log as {event.data['wa_id']}, not on the phone"
        if told.last(key) in {"failed", "expired"} and told.texts.get(key):
            yield f"{key}: {told.last(key)} on the log, and on the phone"
    for (owner, wa_id), events in told.received.items():
        if (
            events
            and (owner, wa_id, False) not in told.ids
            and (owner, wa_id, True) not in told.ids
        ):
            yield f"{wa_id}: received by {owner}, written by nobody"


def stale(evidence: Evidence, told: Told) -> Iterator[str]:
    """Find holes in the log, and read models that tell another story."""
    yield from _versions(evidence.log)
    folded, problems = _fold(evidence.log)
    yield from problems
    for send in evidence.ledger.sends.values():
        if told.texts.get(send.text) and told.last(send.key) in {"", "sending"}:
            yield f"{send.key}: on the phone, on the log {told.last(send.key)!r}"
    yield from evidence.unread
    yield from _rows(evidence, folded)
    yield from _history(evidence, told)


def disordered(evidence: Evidence) -> Iterator[str]:
    """Find chats whose messages changed places."""
    begun = {send.text: place for place, send in enumerate(evidence.ledger.sends.values())}
    outgoing = sorted((m for m in evidence.phone if m.outgoing), key=lambda m: m.place)
    # By the ledger's chat: WhatsApp may keep it under another address.
    chats = {send.text: (send.session, send.chat) for send in evidence.ledger.sends.values()}
    yield from _misplaced(
        "on the phone",
        [(chats[m.text], begun[m.text], m.text) for m in outgoing if m.text in begun],
    )
    places = {(m.session, m.id): (m.chat, m.place) for m in evidence.phone if not m.outgoing}
    heard = [(e.session, e.data["wa_id"]) for e in evidence.events("received")]
    yield from _misplaced(
        "on the log",
        [((h[0], places[h][0]), places[h][1], h[1]) for h in heard if h in places],
    )


def unsettled(evidence: Evidence, told: Told) -> Iterator[str]:
    """Find what nobody knows the end of."""
    for send in evidence.ledger.sends.values():
        if send.answer is Answer.UNKNOWN:
            yield f"{send.key}: no answer, after {send.words[-5:]}"
        elif send.answer is Answer.ACCEPTED and told.last(send.key) not in OUTCOMES:
            yield f"{send.key}: accepted, on the log {told.last(send.key)!r}"


# --- parts --------------------------------------------------------------------


def _twice(where: str, names: Iterable[str]) -> Iterator[str]:
    for name, times in Counter(names).items():
        if times > 1:
            yield f"{where} {name}: {times} times"


def _name(entry: Entry) -> str:
    return f"{entry.session} {entry.key or entry.wa_id}"


def _versions(log: Sequence[Logged]) -> Iterator[str]:
    reached: dict[tuple[str, str], int] = defaultdict(int)
    for event in log:
        family = (event.family, event.session)
        if event.version != reached[family] + 1:
            yield f"{event.session} {event.family}: {event.kind} has version {event.version} after {reached[family]} at {event.position}"  # noqa: E501
        reached[family] = event.version or 0


def _fold(log: Sequence[Logged]) -> tuple[dict[str, session.Session], list[str]]:
    folded: dict[str, session.Session] = defaultdict(session.Session)
    problems: list[str] = []
    for event in log:
        if event.family != "session":
            continue
        try:
            wrapper = Envelope(
                id=event.id,
                source="log",
                type=f"wa.session.{event.kind}.v1",
                subject=event.session,
                time=event.at,
                data=dict(event.data),
            )
            payload = codec.payload_of(wrapper)
            folded[event.session] = session.evolve(folded[event.session], payload, event.at)  # type: ignore[arg-type]
        except (session.IllegalTransition, codec.Undecodable) as error:
            problems.append(f"{event.session}: {error} at {event.position}")
    return folded, problems


def _rows(evidence: Evidence, folded: dict[str, session.Session]) -> Iterator[str]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for event in evidence.log:
        if event.kind == "sent" or (event.kind == "received" and not event.data.get("from_me")):
            counts[event.session][event.kind] += 1
        elif event.kind in {"failed", "expired"}:
            counts[event.session]["failed"] += 1
    shown = {row.session: row for row in evidence.rows}
    for name, state in folded.items():
        if state.state not in session.EXISTING:
            continue
        row = shown.get(name)
        if row is None:
            yield f"{name}: not among the read models"
            continue
        count = counts[name]
        is_now = (row.state, row.version, row.received, row.sent, row.failed)
        should = (
            *(state.state.value, state.version),
            *(count["received"], count["sent"], count["failed"]),
        )
        if is_now != should:
            yield f"{name}: row {is_now}, by the log {should}"


def _history(evidence: Evidence, told: Told) -> Iterator[str]:
    """Every entry by the log: once, with the status that its events add up to."""
    expected: dict[str, dict[tuple[str, str], tuple[str, str]]] = defaultdict(dict)
    for event in evidence.log:
        if event.family != "message":
            continue
        if event.kind == "received":
            status = "sent" if event.data.get("from_me") else "received"
            expected[event.session]["id", event.data["wa_id"]] = (status, event.data["body"])
        elif event.kind in OUTCOMES | {"sending"}:
            key = event.data["message"]
            was = expected[event.session].get(("key", key), ("", ""))
            status = _status(told, event.session, key)
            expected[event.session]["key", key] = (status, event.data.get("body", was[1]))
    shown: dict[str, dict[tuple[str, str], tuple[str, str]]] = defaultdict(dict)
    for entry in evidence.history:
        name = ("key", entry.key) if entry.key else ("id", entry.wa_id or "")
        shown[entry.session][name] = (entry.status, entry.text)
    for owner in dict.fromkeys([*expected, *shown]):
        # The oldest beyond what is kept are gone on purpose.
        newest = dict(list(expected[owner].items())[-evidence.kept :])
        for name, should in newest.items():
            found = shown[owner].get(name)
            if found != should:
                yield f"{owner} {name[1]}: history shows {found}, by the log {should}"
        for name in shown[owner].keys() - expected[owner].keys():
            yield f"{owner} {name[1]}: in the history, not on the log"


def _status(told: Told, owner: str, key: str) -> str:
    last = told.last(key)
    if last != "sent":
        return {"sending": "queued"}.get(last, last)
    wa_id = next(e.data["wa_id"] for e in told.outcomes[key] if e.kind == "sent")
    return WORDS[min(4, max(1, told.ticks.get((owner, wa_id), 0)))]


def _misplaced(where: str, seen: Sequence[tuple[tuple[str, str], int, str]]) -> Iterator[str]:
    """Walk (chat, place, name) in the order seen; places must rise within each chat."""
    newest: dict[tuple[str, str], tuple[int, str]] = {}
    for chat, place, name in seen:
        before = newest.get(chat)
        if before is not None and place < before[0]:
            yield f"{chat}: {name} after {before[1]} {where}"
        else:
            newest[chat] = (place, name)
