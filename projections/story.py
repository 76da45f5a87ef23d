"""A session's events in sentences, and what each came of. Pure.

Times are written on the clock of UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import assert_never

from events import session_events as e
from events.session_events import SessionEvent

FAILED: Mapping[str, str] = {
    "browser_exited": "its browser ended",
    "connection_lost": "the connection to its browser was lost",
    "page_crashed": "its page crashed",
    "page_gone": "its page was gone",
    "page_hung": "its page stopped answering",
    "page_reloaded": "its page reloaded in the middle of a call",
    "unreachable": "WhatsApp could not be reached from its node",
    "start_timeout": "its page showed neither a code nor a link in time",
    "qr_stuck": "WhatsApp showed no new code",
    "sync_timeout": "it was linked and did not finish synchronising in time",
    "offline_timeout": "WhatsApp's connection stayed away for too long",
    "no_browser": "there is no browser on its node",
    "profile_busy": "another process uses its profile",
    "launch_failed": "its browser did not start",
    "vault_key": "no VAULT_KEY of its node opens its snapshot",
    "vault_away": "its snapshot could not be fetched",
    "link_lost": "its profile had lost the link, so a snapshot is tried",
    "deprecated_version": "WhatsApp refuses this version of its page",
    "proxy_blocked": "WhatsApp refuses the network of its node",
    "browser_error": "a call into its browser failed",
}
"""Why a browser was given up, by the stable word of `crashed`."""

WANTED: Mapping[str, str] = {
    "start": "it was told to start",
    "restart": "it was told to restart",
    "refresh_qr": "a new code was asked for",
    "reset": "it was told to start over",
    "takeover": "it was told to go on here",
    "claimed": "its node had just taken it up",
    "backoff_elapsed": "the pause was over",
    "memory": "its browser used more memory than it may",
    "node_stopping": "its node stopped",
}
"""Why a browser is wanted, by the stable word of `queued`."""

ELSEWHERE: Mapping[str, str] = {
    "CONFLICT": "WhatsApp is open in another window; a takeover goes on here",
    "account_in_use": "another session of this service has the account",
}
LEFT: Mapping[str, str] = {
    "command": "it was told to log out",
    "unlinked": "the phone unlinked it",
    "UNPAIRED": "the phone unlinked it",
    "unknown_companion": "the phone unlinked it",
}
UNSCANNED: Mapping[str, str] = {
    "qr_exhausted": "nobody scanned its codes",
    "owner_lost": "the node that showed its code is gone",
}

CAUSES: Mapping[str, frozenset[str]] = {
    "starting": frozenset({"queued", "probing"}),
    "loading": frozenset({"starting"}),
    "pairing": frozenset({"starting"}),
    "qr_refreshed": frozenset({"pairing"}),
    "pairing_code_asked": frozenset({"pairing"}),
    "qr_exhausted": frozenset({"qr_refreshed", "pairing"}),
    "authenticated": frozenset({"pairing", "starting"}),
    "ready": frozenset({"authenticated", "offline", "starting"}),
    "backing_off": frozenset({"crashed"}),
    "suspended": frozenset({"crashed"}),
    "probing": frozenset({"suspended"}),
    "recovered": frozenset({"ready", "pairing", "queued"}),
    "operations_probed": frozenset({"operations_paused"}),
    "operations_resumed": frozenset({"operations_probed"}),
}
"""Of which kinds of event another one comes: of the last of them before it."""

CAUSES_BY_REASON: Mapping[tuple[str, str], frozenset[str]] = {
    ("queued", "backoff_elapsed"): frozenset({"backing_off"}),
    ("queued", "claimed"): frozenset({"claimed"}),
    ("crashed", "start_timeout"): frozenset({"starting"}),
    ("crashed", "qr_stuck"): frozenset({"pairing", "qr_refreshed"}),
    ("crashed", "sync_timeout"): frozenset({"authenticated"}),
    ("crashed", "offline_timeout"): frozenset({"offline"}),
    ("rested", "qr_exhausted"): frozenset({"qr_exhausted"}),
    ("rested", "owner_lost"): frozenset({"claimed"}),
}


def causes_of(event: SessionEvent) -> frozenset[str]:
    """Return the kinds of which this one comes; none if it came from outside."""
    reason = str(getattr(event, "reason", ""))
    return CAUSES_BY_REASON.get((event.kind, reason), CAUSES.get(event.kind, frozenset()))


def clock(at: datetime, beside: datetime) -> str:
    """Write a time, with its day unless it is that of the time beside it."""
    at, beside = at.astimezone(UTC), beside.astimezone(UTC)
    form = "%H:%M:%S" if at.date() == beside.date() else "%Y-%m-%d %H:%M:%S"
    return at.strftime(form)


def failure(reason: str) -> str:
    """Say why a browser was given up."""
    return FAILED.get(reason, reason)


def given_up(event: e.Crashed) -> str:
    """Say why a browser was given up, and what it had grown to where that is known."""
    if event.memory_mb is None:
        return failure(event.reason)
    return f"{failure(event.reason)} after its browser had reached {event.memory_mb} MB"


def wanted(event: e.Queued) -> str:
    """Say why a browser is wanted."""
    if event.memory_mb is None:
        return WANTED.get(event.reason, event.reason)
    return f"its browser had reached {event.memory_mb} MB, which is more than it may"


def sentence(event: SessionEvent, at: datetime, node: str | None) -> str:
    """Say in one sentence what happened. Numbers, names and texts of people are left out."""
    match event:
        case e.Registered():
            return "created" if event.start else "created, to be started by hand"
        case e.Claimed():
            return f"taken up by node {node or '?'}"
        case e.Queued():
            fresh = ", without its old link" if event.fresh else ""
            return f"waits for a browser{fresh}: {wanted(event)}"
        case e.Starting():
            again = "" if event.attempt == 1 else f", attempt {event.attempt}"
            return f"a browser is started{again}; it has until {clock(event.deadline, at)}"
        case e.LoadingSeen():
            return f"WhatsApp's page loads: {event.percent} %"
        case e.Pairing():
            return f"shows a code to scan, good until {clock(event.expires, at)}"
        case e.QrRefreshed():
            return f"shows code {event.attempt}, good until {clock(event.expires, at)}"
        case e.PairingCodeAsked():
            return f"gave a code to type, good until {clock(event.expires, at)}"
        case e.QrExhausted():
            return f"{event.attempts} codes went unscanned"
        case e.Authenticated():
            return "linked; the page synchronises"
        case e.AuthFailed():
            return f"linking failed: {event.reason}"
        case e.Ready():
            return "ready: sends and receives"
        case e.Offline():
            return f"WhatsApp's connection is away; it has until {clock(event.deadline, at)}"
        case e.Crashed():
            return f"given up: {given_up(event)}"
        case e.BackingOff():
            return (
                f"tries again at {clock(event.until, at)}, "
                f"attempt {event.attempt} of {event.max_attempts}"
            )
        case e.Suspended():
            return (
                f"suspended after {event.failures} failures in a row; "
                f"one try at {clock(event.until, at)}"
            )
        case e.Probing():
            return "one start is tried, to see whether it works again"
        case e.Recovered():
            return f"works again; {event.failures} failures are forgotten"
        case e.OperationsPaused():
            return (
                f"calls into the page are paused after {event.failures} failures, "
                f"until {clock(event.until, at)}"
            )
        case e.OperationsProbed():
            return "one call into the page is tried"
        case e.OperationsResumed():
            return "calls into the page work again"
        case e.Parked():
            return f"does nothing here: {ELSEWHERE.get(event.reason, event.reason)}"
        case e.Rested():
            return f"rests: {UNSCANNED.get(event.reason, event.reason)}"
        case e.Blocked():
            return f"WhatsApp blocked the account ({event.reason})"
        case e.LoggedOut():
            return f"logged out: {LEFT.get(event.reason, event.reason)}"
        case e.Stopped():
            return "stopped: it was told to" if event.reason == "command" else "stopped"
        case e.Removed():
            return "deleted" if event.reason == "deleted" else "deleted: long unlinked and unused"
        case e.ProfileSaved():
            return f"its profile was saved (snapshot {event.generation})"
        case e.ProfileRestored():
            older = ", an older one, for the newest did not verify" if event.older else ""
            return f"its profile came from snapshot {event.generation} ({event.source}){older}"
        case _:
            assert_never(event)
