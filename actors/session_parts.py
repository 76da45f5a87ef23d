"""What the parts of one session share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog
from structlog.typing import FilteringBoundLogger

from actors.browser_life import BrowserLife
from actors.parts import Parts
from actors.pool_messages import OfSession
from actors.recorder import Recorder
from actors.session_messages import Message
from actors.timers import Timers
from events import live
from events.session import Session
from events.subjects import SessionId


@dataclass(frozen=True, slots=True)
class SessionParts:
    """One session's pen, browser and timers, and who is told of what. Its own thread only."""

    identity: SessionId
    node: Parts
    recorder: Recorder
    life: BrowserLife
    timers: Timers
    tell_me: Callable[[Message], None]
    tell_pool: Callable[[OfSession], None]
    log: FilteringBoundLogger

    @classmethod
    def of(
        cls,
        identity: SessionId,
        node: Parts,
        *,
        tell_me: Callable[[Message], None],
        tell_pool: Callable[[OfSession], None],
    ) -> SessionParts:
        """Make those of one session; nothing is read or started yet."""
        settings = node.settings
        profile = settings.profiles / identity.dotted
        return cls(
            identity,
            node,
            recorder=Recorder(
                identity, node.log, node.loop, node.clock, settings=settings, policy=node.policy
            ),
            life=BrowserLife(identity, node.launcher, node.loop, profile),
            timers=Timers(node.clock, tell_me),
            tell_me=tell_me,
            tell_pool=tell_pool,
            log=structlog.get_logger().bind(session=str(identity)),
        )

    @property
    def state(self) -> Session:
        """What is known of the session from the log."""
        return self.recorder.state

    def tell_live(self, notice: live.LiveNotice) -> None:
        """Tell whoever listens now. Nothing is stored, and nobody waits for it."""
        self.node.loop.run(
            self.node.wire.notice(self.identity, notice),
            then=lambda _: None,
            failed=lambda error: self.log.debug("session.notice_lost", error=repr(error)),
        )
