"""What a session does about what it is told: commands and facts become events. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import assert_never

from events import session_events as e
from events.backoff import Backoff
from events.session import AT_REST, EXISTING, WITH_BROWSER, Session, State
from events.session_events import SessionCommand, SessionEvent
from events.session_facts import (
    Banned,
    Claiming,
    CodeShown,
    Conflicted,
    Dropped,
    Due,
    Fact,
    Failure,
    Heavy,
    Launching,
    Linked,
    Progress,
    Quiet,
    Stale,
    Synced,
    TypedCode,
    Unlinked,
    Wanting,
)
from events.settings import Settings
from events.subjects import SessionId

S = State
Events = tuple[SessionEvent, ...]

QR_GRACE = 30.0
"""Seconds after a code's expiry in which WhatsApp must show the next one."""


TYPING_TIME = 180.0
"""Seconds that WhatsApp takes a code typed into the phone; its page then makes another."""


class Refusal(Exception):
    """A command that the session is in no state for. `status` is what HTTP answers."""

    def __init__(
        self, reason: str, detail: str, status: int = 409, retry_after: float | None = None
    ) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.status = status
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Policy:
    """The numbers the rules go by; times in seconds."""

    backoff: Backoff = field(default_factory=Backoff)
    start_timeout: float = 60
    sync_timeout: float = 120
    offline_timeout: float = 60
    suspend_time: float = 60
    qr_max: int = 6

    @classmethod
    def of(cls, settings: Settings) -> Policy:
        """Take the numbers from the configuration."""
        return cls(
            backoff=Backoff(
                settings.backoff_first,
                settings.backoff_max,
                settings.backoff_jitter,
                settings.backoff_attempts,
            ),
            start_timeout=settings.start_timeout,
            sync_timeout=settings.sync_timeout,
            offline_timeout=settings.offline_timeout,
            suspend_time=settings.suspend_time,
            qr_max=settings.qr_max,
        )


def decide(
    session: Session,
    identity: SessionId,
    told: SessionCommand | Fact,
    now: datetime,
    policy: Policy,
) -> Events:
    """Return the events that follow; raises Refusal for a command out of place.

    An empty answer means that nothing is to be recorded: the command is
    already fulfilled, or the fact is old news.
    """
    if session.state not in EXISTING:
        # Only `registered` may come next, and that is the pool's to decide.
        if isinstance(told, SessionCommand):
            raise Refusal("unknown_session", "there is no such session", 404)
        return ()
    match told:
        case (
            e.Start() | e.Stop() | e.Restart() | e.Logout() | e.Delete() | e.Reset() | e.Takeover()
        ) as command:
            return _obey(session, command, now)
        case e.RefreshQr():
            return _refresh(session, now)
        case fact:
            return _note(session, identity, fact, now, policy)


def _obey(
    session: Session,
    command: e.Start | e.Stop | e.Restart | e.Logout | e.Delete | e.Reset | e.Takeover,
    now: datetime,
) -> Events:
    match command:
        case e.Start():
            return _run(session, "start", now)
        case e.Restart():
            if session.state in WITH_BROWSER:
                return (e.Queued(reason="restart"),)
            return _run(session, "restart", now)
        case e.Stop():
            at_rest = session.state in {S.STOPPED, S.LOGGED_OUT}
            return () if at_rest else (e.Stopped(reason="command", totals=session.totals),)
        case e.Logout():
            gone = session.state is S.LOGGED_OUT
            return () if gone else (e.LoggedOut(reason="command", confirmed=not session.linked),)
        case e.Delete():
            return (e.Removed(reason="deleted", totals=session.totals),)
        case e.Reset():
            forget = (_recovered(session),) if session.failures else ()
            if session.state is S.QUEUED and not command.fresh:
                return forget
            return (*forget, e.Queued(reason="reset", fresh=command.fresh))
        case e.Takeover():
            if session.state is S.PARKED:
                return (e.Queued(reason="takeover"),)
            raise Refusal("not_parked", f"the session is {session.word}; there is no conflict")
        case _:
            assert_never(command)


def _run(session: Session, reason: str, now: datetime) -> Events:
    if session.state in AT_REST or session.state is S.BACKING_OFF:
        return (e.Queued(reason=reason),)
    if session.state is S.SUSPENDED:
        wait = max(0.0, (session.deadline - now).total_seconds()) if session.deadline else None
        raise Refusal(
            "suspended", "too many failures in a row; the breaker is open", 503, retry_after=wait
        )
    if session.state is S.BLOCKED:
        raise Refusal("blocked", f"WhatsApp blocked the account: {session.reason}")
    if session.state is S.REGISTERED:
        return (e.Queued(reason=reason),)
    return ()


def _refresh(session: Session, now: datetime) -> Events:
    if session.state in {S.AUTHENTICATED, S.READY, S.OFFLINE}:
        raise Refusal("linked", "the session is linked; there is no code to show")
    if session.state in AT_REST | {S.SUSPENDED, S.BLOCKED}:
        return _run(session, "refresh_qr", now)
    return ()


def _note(
    session: Session, identity: SessionId, fact: Fact, now: datetime, policy: Policy
) -> Events:
    state = session.state
    match fact:
        case Claiming():
            return (e.Claimed(life=fact.life, totals=fact.totals),)
        case Wanting():
            if not session.wanted or state is not S.REGISTERED:
                return ()
            if fact.orphaned:
                return (e.Rested(reason="owner_lost"),)
            return (e.Queued(reason="claimed"),)
        case Launching():
            if state is not S.QUEUED:
                return ()
            deadline = now + timedelta(seconds=policy.start_timeout)
            return (e.Starting(attempt=session.failures + 1, deadline=deadline),)
        case Progress():
            # A page tells each percent; the log keeps the quarters.
            steps = fact.percent // 25 > session.percent // 25
            tells = state in WITH_BROWSER - {S.READY} and steps
            return (e.LoadingSeen(percent=fact.percent, message=fact.message),) if tells else ()
        case CodeShown():
            return _code(session, fact, now, policy)
        case TypedCode():
            if state is not S.PAIRING:
                return ()
            return (e.PairingCodeAsked(expires=now + timedelta(seconds=TYPING_TIME)),)
        case Linked():
            if state not in {S.STARTING, S.PAIRING}:
                return ()
            return (e.Authenticated(deadline=now + timedelta(seconds=policy.sync_timeout)),)
        case Synced():
            return _synced(session, fact, now, policy)
        case Dropped():
            if state not in {S.READY, S.AUTHENTICATED}:
                return ()
            deadline = now + timedelta(seconds=policy.offline_timeout)
            return (e.Offline(reason=fact.word, deadline=deadline),)
        case Conflicted():
            return (e.Parked(reason=fact.reason),) if state in WITH_BROWSER else ()
        case Unlinked():
            if state not in WITH_BROWSER or not session.linked:
                return ()
            return (e.LoggedOut(reason=fact.reason, confirmed=fact.confirmed),)
        case Banned():
            return (e.Blocked(reason=fact.word),) if state in WITH_BROWSER else ()
        case Failure():
            if state not in WITH_BROWSER:
                return ()
            crashed = e.Crashed(reason=fact.reason, detail=fact.detail, memory_mb=fact.memory_mb)
            return (crashed, _after_crash(session, session.failures + 1, identity, now, policy))
        case Due():
            return _due(session, identity, now, policy)
        case Quiet():
            calm = state is S.READY and session.failures > 0
            return (_recovered(session),) if calm else ()
        case Heavy():
            if state is not S.READY:
                return ()
            return (e.Queued(reason="memory", memory_mb=fact.megabytes),)
        case Stale():
            return (
                (e.Removed(reason="stale", totals=session.totals),)
                if is_forgettable(session)
                else ()
            )
        case _:
            assert_never(fact)


def is_typing(session: Session, now: datetime) -> bool:
    """Whether somebody may be typing a code into the phone: ending the page would void it."""
    return session.typed_until is not None and now < session.typed_until


def is_forgettable(session: Session) -> bool:
    """Whether nothing would be lost with the session: no link, and nothing going on."""
    return not session.linked and session.state in AT_REST | {S.REGISTERED, S.SUSPENDED}


def _code(session: Session, fact: CodeShown, now: datetime, policy: Policy) -> Events:
    if session.linked and session.state is S.STARTING:
        # A page that shows a code holds no credentials: the link is gone.
        return (e.LoggedOut(reason="unlinked", confirmed=True),)
    expires = now + timedelta(seconds=fact.ttl)
    if session.state is S.STARTING:
        first = e.Pairing(attempt=1, expires=expires)
        # A code on the page proves that starts work again.
        return (first, _recovered(session)) if session.failures else (first,)
    if session.state is not S.PAIRING:
        return ()
    attempt = session.qr_attempt if fact.known else session.qr_attempt + 1
    if attempt > policy.qr_max and not is_typing(session, now):
        return (e.QrExhausted(attempts=session.qr_attempt), e.Rested(reason="qr_exhausted"))
    return (e.QrRefreshed(attempt=attempt, expires=expires),)


def _recovered(session: Session) -> e.Recovered:
    return e.Recovered(failures=session.failures, rejected=session.rejected)


def _synced(session: Session, fact: Synced, now: datetime, policy: Policy) -> Events:
    if session.state not in {S.STARTING, S.PAIRING, S.AUTHENTICATED, S.OFFLINE}:
        return ()
    ready = e.Ready(
        phone=fact.phone,
        lid=fact.lid,
        push_name=fact.push_name,
        again=session.is_coming_back,
    )
    recovered: Events = (_recovered(session),) if session.probing else ()
    if session.state in {S.STARTING, S.PAIRING}:
        deadline = now + timedelta(seconds=policy.sync_timeout)
        return (e.Authenticated(deadline=deadline), ready, *recovered)
    return (ready, *recovered)


def _due(session: Session, identity: SessionId, now: datetime, policy: Policy) -> Events:
    match session.state:
        case S.BACKING_OFF if session.deadline is None:
            # The owner died between the crash and its plan: plan now.
            return (_after_crash(session, session.failures, identity, now, policy),)
        case S.BACKING_OFF:
            return (e.Queued(reason="backoff_elapsed"),)
        case S.SUSPENDED:
            return (e.Probing(failures=session.failures, rejected=session.rejected),)
        case S.STARTING:
            failure = Failure("start_timeout", "no QR code and no link within the deadline")
        case S.PAIRING:
            failure = Failure("qr_stuck", "WhatsApp showed no new code after the last one expired")
        case S.AUTHENTICATED:
            failure = Failure("sync_timeout", "linked, but not synchronised within the deadline")
        case S.OFFLINE:
            failure = Failure("offline_timeout", "WhatsApp stayed away past the deadline")
        case _:
            return ()
    return _note(session, identity, failure, now, policy)


def _after_crash(
    session: Session, failures: int, identity: SessionId, now: datetime, policy: Policy
) -> e.BackingOff | e.Suspended:
    if session.probing or failures > policy.backoff.attempts:
        until = now + timedelta(seconds=policy.suspend_time)
        return e.Suspended(failures=failures, until=until)
    delay = policy.backoff.delay(failures, identity.dotted)
    return e.BackingOff(
        attempt=failures,
        max_attempts=policy.backoff.attempts,
        delay=delay,
        until=now + timedelta(seconds=delay),
    )
