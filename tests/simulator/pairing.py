"""What an unlinked page shows: a QR code that changes, or a code to type on the phone."""

import asyncio
import secrets
from collections.abc import Callable

from tests.simulator.knobs import KnobBoard

Push = Callable[[str, dict[str, object]], None]

# The letters of real codes: no vowels, nothing that looks like something else.
ALPHABET = "123456789ABCDEFGHJKLMNPQRSTVWXYZ"


class Pairing:
    """The codes that can be scanned or typed right now, by page."""

    def __init__(self, knobs: KnobBoard, push: Push) -> None:
        self._knobs = knobs
        self._push = push
        self._refs: dict[str, str] = {}
        self._typed: dict[str, tuple[str, str]] = {}  # code -> (page, the number it was asked for)
        self._turning: dict[str, asyncio.Task[None]] = {}

    def show(self, device: str) -> None:
        """Begin (or begin again) to show QR codes on a page."""
        self.stop(device)
        self._turning[device] = asyncio.create_task(self._turn(device))

    def stop(self, device: str) -> None:
        """The page is gone or linked: its codes are worth nothing any more."""
        self._refs.pop(device, None)
        self._typed = {code: asked for code, asked in self._typed.items() if asked[0] != device}
        if task := self._turning.pop(device, None):
            task.cancel()

    def typed_code(self, device: str, phone: str) -> str:
        """Make a code for the phone of that number to type."""
        code = "".join(secrets.choice(ALPHABET) for _ in range(8))
        self._typed[code] = (device, "".join(filter(str.isdigit, phone)))
        return code

    def ref(self, device: str) -> str | None:
        """The reference in the QR code that a page shows now."""
        return self._refs.get(device)

    def page_of_qr(self, text: str) -> str | None:
        """The page that shows this QR code, given in full or up to its first comma."""
        ref = text.partition(",")[0]
        return next((device for device, shown in self._refs.items() if shown == ref), None)

    def page_of_code(self, code: str, number: str) -> str | None:
        """The page for which that number's phone may type this code."""
        device, asked_for = self._typed.get(code.replace("-", "").upper(), (None, ""))
        return device if asked_for == number else None

    async def _turn(self, device: str) -> None:
        for _ in range(self._knobs.of(device=device).qr_max):
            knobs = self._knobs.of(device=device)
            self._refs[device] = "2@" + secrets.token_urlsafe(60)
            self._push(device, {"t": "ref", "ref": self._refs[device], "ttl": knobs.qr_ttl})
            await asyncio.sleep(knobs.qr_ttl)
        self._refs.pop(device, None)
        self._push(device, {"t": "ref-idle"})
