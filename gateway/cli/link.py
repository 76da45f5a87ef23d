"""`wa link`: shows the QR code in the terminal and follows it until somebody scanned."""

from __future__ import annotations

import io
import time
from collections.abc import Callable

import httpx
import segno
from pydantic import JsonValue

from events.clock import pause
from gateway.cli.service import CannotDo, Json, Service

PAUSE = 1.0
"""Seconds between looks. A code lives for some twenty."""

TYPING = 170.0
"""Seconds for which a code to type is shown: a little less than it holds."""

ENDS: dict[str, str] = {
    "auth_failed": "WhatsApp refuses this account",
    "suspended": "the session failed too often in a row; look at `wa sessions`",
    "logged_out": "the phone removed the link",
    "stopped": "somebody stopped the session",
    "not_found": "somebody deleted the session",
    "disconnected": "nobody scanned, or WhatsApp is open elsewhere; run this again for new codes",
}
"""States in which no code will come any more."""

Say = Callable[[str], None]


def drawn(code: str) -> str:
    """Draw a code with half blocks: two modules to a character."""
    drawing = io.StringIO()
    segno.make_qr(code, error="l").terminal(out=drawing, compact=True, border=2)
    return drawing.getvalue()


def link(
    service: Service,
    user: str,
    bot: str,
    *,
    patience: float,
    say: Say,
    show: Say,
    phone: str | None = None,
) -> None:
    """Start a session and show its codes until it is ready; raises CannotDo.

    `show` gets each new code as a drawing, `say` what happens besides. With the
    number of a `phone` there is a code to type into it instead.
    """
    give_up = time.monotonic() + patience
    with service.http() as http:
        pair = {"userId": user, "plubotId": bot}
        data = _data(service.call(http, "POST", "/api/sessions/create", json=pair))
        last_code = last_word = None
        begun = False
        typed = None if phone is None else Typed(service, http, phone, say)
        while True:
            word, code = data.get("status"), data.get("qr")
            if word == "ready":
                say(f"Linked: {data.get('sessionId')} is {data.get('phoneNumber')}.")
                return
            # A session at rest needs a moment to start: only what comes after counts.
            begun = begun or word not in ENDS
            if begun and isinstance(word, str) and word in ENDS:
                raise CannotDo(f"{ENDS[word]}{_because(data)}")
            if typed is not None and word == "waiting_qr":
                typed.show(str(data.get("sessionId")))
            elif isinstance(code, str) and code != last_code:
                show(drawn(code))
                say("Scan it: WhatsApp on the phone, Settings, Linked devices, Link a device.")
                last_code = code
            elif word != last_word and code is None:
                say(f"{word} …")
            last_word = word
            if time.monotonic() > give_up:
                raise CannotDo(f"not linked after {patience:.0f} s; the session goes on waiting")
            pause(PAUSE)
            data = _data(service.call(http, "GET", f"/api/sessions/{user}/{bot}"))


class Typed:
    """Codes to type into one phone: another one when the last has run out."""

    def __init__(self, service: Service, http: httpx.Client, phone: str, say: Say) -> None:
        self._service, self._http, self._phone, self._say = service, http, phone, say
        self._good_until = float("-inf")

    def show(self, session: str) -> None:
        """Show a code, unless the one that was shown still holds; raises CannotDo."""
        if time.monotonic() < self._good_until:
            return
        asked = {"phoneNumber": self._phone}
        path = f"/api/sessions/{session}/pairing-code"
        code = str(self._service.call(self._http, "POST", path, json=asked).get("code"))
        self._good_until = time.monotonic() + TYPING
        self._say(f"Type it: {code[:4]}-{code[4:]}")
        self._say(
            "On the phone: Settings, Linked devices, Link a device, Link with phone number instead."
        )


def pair_of(service: Service, session: str) -> tuple[str, str]:
    """Find user and bot of a session id, which cannot be split; raises CannotDo."""
    with service.http() as http:
        data = _data(service.call(http, "GET", f"/api/sessions/{session}"))
    return str(data["userId"]), str(data["plubotId"])


def _data(answer: Json) -> Json:
    data = answer.get("data")
    if not isinstance(data, dict):
        raise CannotDo("the gateway answers something that is no session")
    return data


def _because(data: dict[str, JsonValue]) -> str:
    reason = data.get("error") or data.get("reason")
    return f" ({reason})" if reason else ""
