"""What WhatsApp's own words mean for a session. Pure."""

from __future__ import annotations

from pydantic import ValidationError

from actors.browser import protocol as b
from actors.vault.snapshot import NoKey
from actors.vault.vault import VaultAway
from events.session import Session, State
from events.session_facts import (
    Banned,
    Conflicted,
    Dropped,
    Fact,
    Failure,
    Linked,
    Synced,
    Unlinked,
)

BLOCKED = frozenset({"TOS_BLOCK", "SMB_TOS_BLOCK"})
AWAY = frozenset({"TIMEOUT", "OPENING"})
OUTDATED = "deprecated_version"
"""The reason of a failure where WhatsApp takes no page of this version."""

PAIRED = frozenset({State.AUTHENTICATED, State.READY, State.OFFLINE})


def fact_of(status: b.PageStatus, session: Session) -> Fact | None:
    """Translate what the page says of itself; None if it says nothing new."""
    word = status.socket
    if word in BLOCKED:
        return Banned(word)
    if word == "CONFLICT" or status.mode == "CONFLICT":
        return Conflicted()
    if word == "DEPRECATED_VERSION":
        return Failure(OUTDATED, "WhatsApp refuses this version of its page")
    if word == "PROXYBLOCK":
        return Failure("proxy_blocked", "WhatsApp refuses this network")
    if word == "UNPAIRED" and session.state in PAIRED:
        return Unlinked("UNPAIRED")
    if word in AWAY:
        return Dropped(word)
    if not status.authenticated:
        # An error page, or one that was loaded anew and is not there yet.
        blank = session.state is State.READY and not status.mode
        return Dropped("no_page") if blank else None
    who = status.identity
    if status.mode == "MAIN" and word == "CONNECTED" and who is not None:
        return Synced(who.phone, who.lid, who.push_name)
    return Linked()


def failure_of(error: Exception) -> Failure:
    """Name what a call into the browser failed of."""
    match error:
        case b.Unreachable():
            return Failure("unreachable", str(error))
        case b.PageTimeout():
            return Failure("page_hung", "the page did not answer in time")
        case b.NoBrowser():
            return Failure("no_browser", str(error))
        case b.ProfileBusy():
            return Failure("profile_busy", "another process uses the profile folder")
        case b.LaunchFailed():
            return Failure("launch_failed", str(error))
        case NoKey():
            return Failure("vault_key", str(error))
        case VaultAway():
            return Failure("vault_away", str(error))
        case b.PageGone():
            return Failure("page_gone", str(error))
        case ValidationError():
            # Its own words quote what was read: a message, a number, a name.
            return Failure("browser_error", f"{error.error_count()} parts of an answer unreadable")
        case _:
            return Failure("browser_error", f"{type(error).__name__}: {error}"[:500])
