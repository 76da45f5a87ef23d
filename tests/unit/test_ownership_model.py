"""Several owners of one session, each sure of itself, and everything that can go wrong.

The rules, the recorder, the sender and the receiver are the real ones; the log
is the one in memory, and the page and WhatsApp's server are a few lines here.
Steps of all owners interleave, answers of the log get lost or come late,
owners die, freeze and thaw. What must hold is checked after every step. Then
the same machine is run on mutants, each without one of the protections: it
must find every one of them, or it would prove nothing.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from actors.browser.protocol import AckSeen, BrowserError, MessageSeen, NotSent, PageTimeout
from actors.catching_up import OVERLAP
from actors.inbox import Delivered
from actors.loop import LoopThread
from actors.pace import Pace
from actors.receiving import Receiver
from actors.recorder import Recorder
from actors.sending import Sender, Tried, new_wa_id
from events import codec, message, subjects
from events import session_events as e
from events import session_facts as f
from events.breaker import Try
from events.envelope import Envelope
from events.log import Conflict, Guard, Unknown
from events.message import Send, Stage
from events.session import State
from events.session_facts import Fact
from events.session_rules import Policy, decide
from events.settings import Settings
from events.subjects import SessionId
from tests.fakes.clock import VirtualClock
from tests.fakes.log import MemoryLog

S = State
SESSION = SessionId("ada", "shop")
WINDOW = timedelta(seconds=120)
CHAT = "491701234567@c.us"
OUTCOMES = (message.Sent, message.Failed, message.Expired, message.Unresolved)


@pytest.fixture(scope="module", autouse=True)
def _loop() -> Iterator[None]:
    Owners.loop = LoopThread()
    Owners.loop.start()
    yield
    Owners.loop.stop()


SUBJECT = "wa.cmd.outbox.ann.bot.send"


class Broker(MemoryLog):
    """The log in memory, as forgetful of ids as JetStream, whose timed-out writes can land late."""

    own_id = True
    looks_at_head = True

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock
        self.drift = 0
        self.adrift: list[tuple[str, Envelope, Guard]] = []
        self.land_before_next = False

    async def append(
        self, subject: str, event: Envelope, guard: Guard, ttl: float | None = None
    ) -> int:
        if self.land_before_next:
            self.land_before_next = False
            self.land()
        if self.drift > 0:
            self.drift -= 1
            self.adrift.append((subject, event, guard))
            raise Unknown(subject)
        return await super().append(subject, event, guard, ttl)

    def land(self) -> None:
        """Let every write that timed out arrive now; the fence decides on each."""
        for subject, event, guard in self.adrift:
            with contextlib.suppress(Conflict):  # What the fence is for.
                self._store(subject, event, guard)
        self.adrift = []

    def _store(self, subject: str, event: Envelope, guard: Guard) -> int:
        now = self._clock.now()
        held = {stored.position: stored.stored_at for stored in self.events}
        self._ids = {
            one: at for one, at in self._ids.items() if self.own_id and now - held[at] < WINDOW
        }
        if self.fenced and not self.looks_at_head and self._tail(guard.family) != guard.tail:
            raise Conflict(subject, guard.tail, self._tail(guard.family))
        length = len(self.events)
        position = super()._store(subject, event, guard)
        if len(self.events) > length:
            self.events[-1] = replace(self.events[-1], stored_at=now)
        return position


@dataclass
class WhatsApp:
    """The server's side of the account: one message for each id it was ever given."""

    taken: dict[str, MessageSeen] = field(default_factory=dict[str, MessageSeen])
    repeats: int = 0

    def take(self, wa_id: str, body: str, at: datetime, from_me: bool) -> MessageSeen:
        if wa_id in self.taken:
            self.repeats += 1
        else:
            key = f"{str(from_me).lower()}_{CHAT}_{wa_id}"
            me = "4930123456@c.us"
            self.taken[wa_id] = MessageSeen(
                wa_id, key, CHAT, me if from_me else CHAT, None, from_me, "chat", body, at, 1
            )
        return self.taken[wa_id]


@dataclass
class Page:
    """One browser: it knows what the server has, and keeps what it could not send yet."""

    whatsapp: WhatsApp
    unsent: dict[str, MessageSeen] = field(default_factory=dict[str, MessageSeen])

    def send(self, wa_id: str, body: str, at: datetime, how: str) -> MessageSeen | BrowserError:
        match how:
            case "answered":
                return self.whatsapp.take(wa_id, body, at, True)
            case "unanswered":
                self.whatsapp.take(wa_id, body, at, True)
                return PageTimeout("sent, and the answer was lost")
            case "kept":
                seen = MessageSeen(
                    wa_id, wa_id, CHAT, "me", None, True, "chat", body, at.replace(), 0
                )
                self.unsent[wa_id] = seen
                return PageTimeout("in the page, not at the server")
            case "refused" if wa_id not in self.whatsapp.taken:
                return NotSent("not_on_whatsapp")
            case _:
                return PageTimeout("nothing happened")

    def find(self, wa_id: str, how: str) -> MessageSeen | BrowserError | None:
        if how == "nothing":
            return PageTimeout("the page hung")
        if how == "unanswered":
            return None  # An older profile was restored, or it is not synchronised yet.
        return self.whatsapp.taken.get(wa_id) or self.unsent.get(wa_id)

    def flush(self) -> None:
        for wa_id, seen in self.unsent.items():
            self.whatsapp.take(wa_id, seen.body, seen.at, True)
        self.unsent.clear()


@dataclass(frozen=True)
class Call:
    """What a sender asked its page for."""

    send: Send
    delivered: Delivered
    look_up: bool
    wa_id: str


@dataclass
class Receipt:
    """The right to settle a command. Being done without an outcome on the log is the crime."""

    machine: Owners
    key: str

    def done(self) -> None:
        assert self.key in self.machine.outcomes(), "settled without an outcome on the log"
        self.machine.settled.add(self.key)

    def later(self, delay: float) -> None:
        pass

    def dead(self, reason: str) -> None:
        raise AssertionError(reason)


class Owner:
    """A life of a session's actor, reduced to what it writes."""

    def __init__(self, machine: Owners, number: int) -> None:
        self.name = f"node-{number}"
        self.page = Page(machine.whatsapp)
        self.calls: list[Call] = []
        self.answers: list[Tried] = []
        self.gate = False
        settings = machine.settings.model_copy(update={"node": self.name})
        self.recorder = Recorder(
            SESSION,
            machine.log,
            machine.loop,
            machine.clock,
            settings=settings,
            policy=machine.policy,
        )
        self.sender = machine.sender(
            self.recorder,
            machine.clock,
            Pace(0, 0),
            lambda send, delivered, look_up, wa_id: self.calls.append(
                Call(send, delivered, look_up, wa_id)
            ),
        )
        self.receiver = Receiver(self.recorder, self.sender, lambda _: None)
        self.receiver.begin()

    @property
    def ready(self) -> bool:
        return self.recorder.state.state is S.READY

    @property
    def linked(self) -> bool:
        return self.recorder.state.state in {S.AUTHENTICATED, S.READY, S.OFFLINE}

    def __repr__(self) -> str:
        return self.name


WAY_TO_READY: dict[State, Fact] = {
    S.REGISTERED: f.Wanting(),
    S.QUEUED: f.Launching(),
    S.STARTING: f.Linked(),
    S.AUTHENTICATED: f.Synced(CHAT, None, None),
    S.OFFLINE: f.Synced(CHAT, None, None),
    S.BACKING_OFF: f.Due(),
    S.SUSPENDED: f.Due(),
}

MINUTE, HOUR = 60, 3600
KEYS = ("one", "two", "three")
HOW = ("unanswered", "answered", "kept", "nothing", "refused")
CRASH = f.Failure("page_crashed", "")
which = st.integers(0, 2)
FAULTS = ("lost ack", "vanish", "refuse", "drift")
faults = st.sampled_from((*("none",) * 6, *FAULTS))


class Owners(RuleBasedStateMachine):
    """The machine. Mutants of it override what is above the constructor."""

    loop: ClassVar[LoopThread]
    sender: ClassVar[type[Sender]] = Sender
    fenced: ClassVar[bool] = True
    own_id: ClassVar[bool] = True
    looks_at_head: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self.clock = VirtualClock()
        self.log = Broker(self.clock)
        self.log.fenced, self.log.own_id = self.fenced, self.own_id
        self.log.looks_at_head = self.looks_at_head
        self.settings = Settings(node="node")  # pyright: ignore[reportCallIssue]
        self.policy = Policy()
        self.whatsapp = WhatsApp()
        self.owners: list[Owner] = []
        self.commands: dict[str, Envelope] = {}
        self.settled: set[str] = set()
        self.inbound: list[MessageSeen] = []
        self.lives = 0
        self._read: list[tuple[str, Envelope, object]] = []
        registered = e.Registered(user="ada", bot="shop")
        envelope = codec.seal(
            registered, subject=SESSION.dotted, source="pool", at=self.clock.now(), version=1
        )
        subject = subjects.session_event(SESSION, registered.kind)
        self.loop.wait(self.log.append(subject, envelope, Guard(subjects.ALL_REGISTERED, 0)))
        self._take_over("opens", "none")

    # --- reading the log ---------------------------------------------------------------

    def history(self) -> list[tuple[str, Envelope, object]]:
        for stored in self.log.events[len(self._read) :]:
            envelope = stored.envelope
            family = stored.subject.split(".")[2]
            self._read.append((family, envelope, codec.payload_of(envelope)))
        return self._read

    def outcomes(self) -> set[str]:
        return {p.message for _, _, p in self.history() if isinstance(p, OUTCOMES)}

    # --- acting as an owner, and dying of it ----------------------------------------------

    def _as(self, owner: Owner, act: Callable[[], None], fault: str = "none") -> bool:
        log = self.log
        log.faults.lose_acks = 1 if fault == "lost ack" else 0
        log.faults.vanish = 1 if fault == "vanish" else 0
        log.faults.refuse = 1 if fault == "refuse" else 0
        log.drift = 1 if fault == "drift" else 0
        tail = owner.recorder._tail  # what it believes in
        try:
            act()
        except Unknown:
            self.owners.remove(owner)  # The actor crashes, and a new life re-reads the truth.
            return False
        except Conflict:
            self.owners.remove(owner)
            wrote = [s for s in log.events if s.position > tail and ".session." in s.subject]
            others = [s for s in wrote if s.envelope.node != owner.name]
            assert others, "told of another owner, and there is none"
            return False
        finally:
            log.faults.lose_acks = log.faults.vanish = log.faults.refuse = log.drift = 0
        return True

    def _note(self, owner: Owner, fact: Fact) -> None:
        recorder = owner.recorder
        for event in decide(recorder.current, SESSION, fact, self.clock.now(), self.policy):
            recorder.session(event)
        if not owner.ready:
            owner.gate = False

    def _one(self, index: int, owners: list[Owner] | None = None) -> Owner:
        among = self.owners if owners is None else owners
        return among[index % len(among)]

    def _waiting(self) -> list[str]:
        return [key for key in self.commands if key not in self.settled]

    # --- what can happen ---------------------------------------------------------------------

    @initialize(patience=st.sampled_from((MINUTE, HOUR, 24 * HOUR)))
    def clients_send(self, patience: int) -> None:
        now = self.clock.now()
        deadline = now + timedelta(seconds=patience)
        for key in KEYS:
            send = Send(message=key, to=CHAT, body=key, deadline=deadline)
            envelope = codec.seal(send, subject=SESSION.dotted, source="client", at=now)
            self.commands[key] = envelope

    @rule(
        far=st.sampled_from((*("opens",) * 4, "gets ready", "claims")),
        fault=faults,
        late=st.booleans(),
    )
    def somebody_takes_over(self, far: str, fault: str, late: bool) -> None:
        """A new life begins; those who owned it before may still believe they do."""
        self.log.land_before_next = late
        self._take_over(far, fault)
        self.log.land_before_next = False

    def _take_over(self, far: str, fault: str) -> None:
        if len(self.owners) == 3:
            self.owners.pop(0)
        self.lives += 1
        owner = Owner(self, self.lives)
        self.owners.append(owner)
        alive = self._as(owner, lambda: owner.recorder.claim(ready=lambda: None), fault)
        while alive and far != "claims" and not owner.ready:
            alive = self._get_on(owner, "none")
        if alive and far == "opens":
            self._catch_up(owner, "none")

    @precondition(lambda self: any(not owner.gate for owner in self.owners))
    @rule(index=which, fault=faults)
    def an_owner_gets_on(self, index: int, fault: str) -> None:
        owner = self._one(index, [owner for owner in self.owners if not owner.gate])
        if owner.ready:
            self._catch_up(owner, fault)
        else:
            self._get_on(owner, fault)

    def _get_on(self, owner: Owner, fault: str) -> bool:
        fact = WAY_TO_READY[owner.recorder.state.state]
        return self._as(owner, lambda: self._note(owner, fact), fault)

    def _catch_up(self, owner: Owner, fault: str) -> None:
        watermark = owner.recorder.outbox.watermark
        since = watermark - OVERLAP if watermark else owner.recorder.state.linked_at
        assert since is not None
        held = sorted(
            (seen for seen in self.whatsapp.taken.values() if seen.at >= since),
            key=lambda seen: seen.at,
        )

        def read() -> None:
            owner.receiver.catch_up(held)
            owner.receiver.caught_up()

        if self._as(owner, read, fault):
            owner.gate = True
            recorded = {p.wa_id for _, _, p in self.history() if isinstance(p, message.Received)}
            # What was there before the link is history, which is not imported.
            linked = owner.recorder.state.linked_at
            assert linked is not None
            missed = {seen.wa_id for seen in self.inbound if seen.at >= linked} - recorded
            assert not missed, f"{missed} came and went unrecorded"

    @precondition(lambda self: self.owners)
    @rule(index=which, fault=faults, what=st.sampled_from((f.Dropped("TIMEOUT"), CRASH, None)))
    def an_owner_or_its_page_fails(self, index: int, fault: str, what: Fact | None) -> None:
        owner = self._one(index)
        if what is None:
            self.owners.remove(owner)
        else:
            owner.receiver.begin()
            self._as(owner, lambda: self._note(owner, what), fault)

    @rule(span=st.sampled_from((1, 10 * MINUTE, 3 * HOUR)))
    def time_passes(self, span: int) -> None:
        if span < MINUTE:
            self.log.land()
        # A write that timed out lives in buffers for a moment, not for minutes.
        self.log.adrift = []
        self.clock.advance(span)
        for owner in self.owners:
            owner.page.flush()

    # --- messages ---------------------------------------------------------------------------

    @precondition(lambda self: self._waiting() and any(owner.gate for owner in self.owners))
    @rule(index=which, number=which, fault=faults, answer=st.sampled_from((None, *HOW)))
    def the_queue_brings_a_command(
        self, index: int, number: int, fault: str, answer: str | None
    ) -> None:
        owner = self._one(index, [owner for owner in self.owners if owner.gate])
        waiting = self._waiting()
        key = waiting[number % len(waiting)]
        delivered = Delivered(SUBJECT, self.commands[key], Receipt(self, key))
        alive = self._as(owner, lambda: owner.sender.deliver(delivered), fault)
        if alive and answer and owner.calls:
            self._work(owner, answer)
            self._hear(owner, "none")

    @precondition(lambda self: any(owner.calls for owner in self.owners))
    @rule(index=which, how=st.sampled_from(HOW))
    def a_page_works(self, index: int, how: str) -> None:
        self._work(self._one(index, [owner for owner in self.owners if owner.calls]), how)

    def _work(self, owner: Owner, how: str) -> None:
        call = owner.calls.pop(0)
        if not call.look_up:
            outcome = owner.page.send(call.wa_id, call.send.body, self.clock.now(), how)
        else:
            outcome = owner.page.find(call.wa_id, how)
        owner.answers.append(Tried(call.send, call.delivered, Try(0), outcome))

    @precondition(lambda self: any(owner.answers for owner in self.owners))
    @rule(index=which, fault=faults)
    def an_owner_hears_of_its_page(self, index: int, fault: str) -> None:
        self._hear(self._one(index, [owner for owner in self.owners if owner.answers]), fault)

    def _hear(self, owner: Owner, fault: str) -> None:
        tried = owner.answers.pop(0)

        def hear() -> None:
            owner.sender.tried(tried)
            owner.receiver.replay()

        self._as(owner, hear, fault)

    @precondition(lambda self: self._waiting() and any(not o.ready for o in self.owners))
    @rule(index=which, number=which, fault=faults)
    def a_send_that_waited_too_long_is_swept(self, index: int, number: int, fault: str) -> None:
        owner = self._one(index, [owner for owner in self.owners if not owner.ready])
        waiting = self._waiting()
        envelope = self.commands[waiting[number % len(waiting)]]
        send = codec.payload_of(envelope)
        assert isinstance(send, Send)

        def sweep() -> None:
            if owner.sender.expire(send, envelope.id):
                Receipt(self, send.message).done()

        self._as(owner, sweep, fault)

    @precondition(lambda self: len(self.inbound) < 5)
    @rule()
    def somebody_writes_to_us(self) -> None:
        wa_id = f"IN{len(self.inbound)}"
        self.inbound.append(self.whatsapp.take(wa_id, wa_id, self.clock.now(), False))

    @precondition(lambda self: self.whatsapp.taken and any(o.linked for o in self.owners))
    @rule(index=which, back=st.integers(0, 5), fault=faults)
    def a_page_tells_of_a_message(self, index: int, back: int, fault: str) -> None:
        owner = self._one(index, [owner for owner in self.owners if owner.linked])
        seen = list(self.whatsapp.taken.values())[::-1][back : back + 1]
        # A page tells of a message when it comes, which is never long ago, and chats
        # come out of step by no more than the overlap. Told of in any order, a message
        # could lie behind the watermark without ever having been recorded.
        if seen and self.clock.now() - seen[0].at <= OVERLAP and not self._owed(seen[0]):
            self._as(owner, lambda: owner.receiver.see(seen[0]), fault)

    def _owed(self, seen: MessageSeen) -> bool:
        recorded = {p.wa_id for _, _, p in self.history() if isinstance(p, message.Received)}
        older = (one for one in self.inbound if one.at < seen.at - OVERLAP)
        return any(one.wa_id not in recorded for one in older)

    # --- what must hold -----------------------------------------------------------------------

    @invariant()
    def nothing_is_doubled_on_the_phone(self) -> None:
        sent = Counter(seen.body for seen in self.whatsapp.taken.values() if seen.from_me)
        assert not [key for key, times in sent.items() if times > 1]

    @invariant()
    def nothing_is_doubled_in_the_log(self) -> None:
        history = self.history()
        ids = Counter(envelope.id for _, envelope, _ in history)
        facts = Counter(p.wa_id for _, _, p in history if isinstance(p, message.Received))
        sent = Counter(p.message for _, _, p in history if isinstance(p, message.Sent))
        assert not [
            one for one, times in (*ids.items(), *facts.items(), *sent.items()) if times > 1
        ]

    @invariant()
    def a_message_has_one_outcome(self) -> None:
        """`unresolved` is no last word, all others are."""
        last = (message.Sent, message.Failed, message.Expired)
        said = Counter(p.message for _, _, p in self.history() if isinstance(p, last))
        assert not [key for key, times in said.items() if times > 1]

    @invariant()
    def what_was_settled_has_an_outcome(self) -> None:
        assert self.settled <= self.outcomes()

    @invariant()
    def sent_means_on_the_phone(self) -> None:
        for _, _, payload in self.history():
            if isinstance(payload, message.Sent):
                assert self.whatsapp.taken[payload.wa_id].body == payload.message

    @invariant()
    def our_own_messages_are_not_received(self) -> None:
        own = {seen.wa_id for seen in self.whatsapp.taken.values() if seen.from_me}
        received = {p.wa_id for _, _, p in self.history() if isinstance(p, message.Received)}
        assert not own & received

    @invariant()
    def versions_have_no_hole(self) -> None:
        for family in ("session", "message"):
            versions = [env.version for name, env, _ in self.history() if name == family]
            assert versions == list(range(1, len(versions) + 1))


RUN = settings(
    max_examples=100,
    phases=[Phase.generate],
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
HUNT = settings(RUN, max_examples=500, report_multiple_bugs=False, print_blob=False)


def test_owners_who_all_believe_in_themselves_break_nothing() -> None:
    run_state_machine_as_test(Owners, settings=RUN)


# --- mutants -------------------------------------------------------------------------------------


class WithoutAFence(Owners):
    """Anybody may write at any time."""

    fenced = False


class _Careless(Sender):
    def tried(self, tried: Tried) -> None:
        known = self._recorder.outbox.delivery(tried.send.message)
        ready = self._recorder.state.state is State.READY
        if tried.outcome is None and ready and known and known.stage is Stage.SENDING:
            self._run(tried.send, tried.delivered, False, new_wa_id())
        else:
            super().tried(tried)


class ResendingUnderANewId(Owners):
    """What is not found in the page is sent again as if it were another message."""

    sender = _Careless


class WithoutIds(Owners):
    """An event whose answer was lost is written once more."""

    own_id = False


class TakingItsOwnWriteForAnothers(Owners):
    """A refused sequence is a conflict, even where the head is our own first attempt."""

    looks_at_head = False


MUTANTS = [WithoutAFence, ResendingUnderANewId, WithoutIds, TakingItsOwnWriteForAnothers]


@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_machine_finds_a_missing_protection(mutant: type[Owners]) -> None:
    with pytest.raises((AssertionError, ExceptionGroup)):
        run_state_machine_as_test(mutant, settings=HUNT)


# --- what the machine would need too long to find ------------------------------------------------


@pytest.fixture
def world() -> Owners:
    """One owner, ready, and three sends in the queue that are good for an hour."""
    machine = Owners()
    machine.clients_send(HOUR)
    return machine


def outcome_of(machine: Owners, key: str) -> str | None:
    kinds = [
        p.kind for _, _, p in machine.history() if isinstance(p, OUTCOMES) and p.message == key
    ]
    return kinds[-1] if kinds else None


def bring(machine: Owners, key: str, how: str) -> None:
    [owner] = machine.owners
    owner.sender.deliver(Delivered(SUBJECT, machine.commands[key], Receipt(machine, key)))
    if owner.calls:
        machine._work(owner, how)  # the page takes its turn
        machine._hear(owner, "none")


STUCK = [("kept", "answered", "not_acknowledged"), ("nothing", "nothing", "page_silent")]


@pytest.mark.parametrize(("sent", "looked_up", "reason"), STUCK)
def test_a_send_whose_outcome_never_shows_ends_as_unresolved(
    world: Owners, sent: str, looked_up: str, reason: str
) -> None:
    bring(world, "one", sent)
    world.clock.advance(HOUR + 30)
    bring(world, "one", looked_up)
    assert outcome_of(world, "one") is None

    world.clock.advance(31)
    bring(world, "one", looked_up)

    assert outcome_of(world, "one") == "unresolved"
    assert world.settled == {"one"}
    last = world.history()[-1][2]
    assert isinstance(last, message.Unresolved)
    assert last.reason == reason


def test_an_echo_after_all_turns_unresolved_into_sent(world: Owners) -> None:
    bring(world, "one", "kept")
    world.clock.advance(HOUR + MINUTE)
    bring(world, "one", "answered")
    assert outcome_of(world, "one") == "unresolved"

    [owner] = world.owners
    owner.page.flush()
    owner.receiver.see(next(iter(world.whatsapp.taken.values())))

    assert outcome_of(world, "one") == "sent"


@pytest.mark.parametrize("acks", [(2, 3), (3, 2), (3,)], ids=str)
def test_receipts_that_overtake_the_answer_are_kept_in_any_order(
    world: Owners, acks: tuple[int, ...]
) -> None:
    [owner] = world.owners
    owner.sender.deliver(Delivered(SUBJECT, world.commands["one"], Receipt(world, "one")))
    wa_id = owner.calls[0].wa_id

    for ack in acks:
        owner.receiver.acked(AckSeen(wa_id, wa_id, CHAT, ack))
    world._work(owner, "answered")
    world._hear(owner, "none")

    assert [p.kind for _, _, p in world.history()][-2:] == ["sent", "read"]


BAD_SENDS = {
    "bad address": {"to": "nobody"},
    "deadline without a zone": {"deadline": "2026-01-01T00:00:00"},
    "no body": {"body": ""},
}


@pytest.mark.parametrize("word", BAD_SENDS)
def test_a_send_that_cannot_be_read_goes_to_the_dead_letters(world: Owners, word: str) -> None:
    [owner] = world.owners
    good = world.commands["one"]
    bad = good.model_copy(update={"data": good.data | BAD_SENDS[word]})
    receipt = Buried()

    owner.sender.deliver(Delivered(SUBJECT, bad, receipt))

    assert receipt.reasons == [f"wa.command.send.v1: bad or missing {next(iter(BAD_SENDS[word]))}"]
    assert not owner.calls


class Buried:
    """A receipt of a command that is expected to be given up."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def done(self) -> None:
        raise AssertionError("nothing was done")

    def later(self, delay: float) -> None:
        raise AssertionError("it would come again for ever")

    def dead(self, reason: str) -> None:
        self.reasons.append(reason)


def test_a_message_with_half_an_emoji_is_recorded(world: Owners) -> None:
    [owner] = world.owners
    seen = world.whatsapp.take("IN", "cut \ud83d", world.clock.now(), False)

    owner.receiver.see(seen)

    last = world.history()[-1][2]
    assert isinstance(last, message.Received)
    assert last.body == "cut \ufffd"


def test_restarts_without_traffic_do_not_forget_what_was_received(world: Owners) -> None:
    world.somebody_writes_to_us()
    [owner] = world.owners
    owner.receiver.see(world.inbound[0])

    for _ in range(3):
        world.clock.advance(24 * HOUR)
        world._take_over("opens", "none")

    received = [p for _, _, p in world.history() if isinstance(p, message.Received)]
    assert len(received) == 1


def test_a_command_older_than_the_memory_is_not_sent_again(world: Owners) -> None:
    world.clients_send(7 * 24 * HOUR)
    bring(world, "one", "answered")
    world.settled.clear()  # The ack of the command was lost.

    for _ in range(3):
        world.clock.advance(24 * HOUR)
        world.owners.clear()
        world._take_over("opens", "none")
    bring(world, "one", "answered")

    assert [p.kind for _, _, p in world.history() if isinstance(p, OUTCOMES)] == ["sent"]
    assert len(world.whatsapp.taken) == 1
    assert world.settled == {"one"}
