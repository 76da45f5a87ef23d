"""One reader of the live feed that hears all sessions: codes, states, and what friends wrote."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

import aiohttp

from tests.load.diary import Diary, Heard

EVENTS = "qr-update,state-change,message-received"


class Ears:
    """Hears the feed from `listen` on, until that is cancelled. Ids are the joined ones."""

    def __init__(
        self, diary: Diary, scan: Callable[[str, str], Coroutine[None, None, None]]
    ) -> None:
        """`scan(session, code)` is called for each code that is shown."""
        self._diary, self._scan = diary, scan
        self.states: dict[str, str] = {}
        self._written: dict[str, float] = {}
        self._early: dict[str, float] = {}
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._scanning: set[asyncio.Task[None]] = set()
        self.position: int | None = None
        self.shown: Callable[[str], object] = lambda _: None
        """Called with each session that shows a code."""

    async def listen(self, http: aiohttp.ClientSession, key: str) -> None:
        """Hear for ever, and go on where it was cut."""
        while True:
            query = {"session": "*", "events": EVENTS, "api_key": key}
            if self.position is not None:
                query["since"] = str(self.position)
            try:
                async with http.ws_connect("/ws", params=query, max_msg_size=0) as socket:
                    async for message in socket:
                        if message.type is aiohttp.WSMsgType.TEXT:
                            self._hear(json.loads(message.data))
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)

    def _hear(self, frame: dict[str, Any]) -> None:
        payload = frame["payload"]
        session = str(frame["session"])
        if frame["position"] is not None:
            self.position = int(str(frame["position"]))
            said = datetime.fromisoformat(str(frame["timestamp"]))
            lag = (datetime.now(UTC) - said).total_seconds()
            self._diary.lags.append((self._diary.now, lag))
        match frame["event"]:
            case "qr-update":
                self.shown(session)
                task = asyncio.create_task(self._scan(session, str(payload["qr"])))
                self._scanning.add(task)
                task.add_done_callback(self._scanning.discard)
            case "state-change":
                self._became(session, str(payload["status"]))
            case "message-received":
                self._received(str(payload["message"]["id"]))
            case _:
                pass

    def _became(self, session: str, word: str) -> None:
        self.states[session] = word
        for waiting in self._waiting.get(session, ()):
            waiting.set()

    async def until(self, session: str, words: set[str], seconds: float) -> bool:
        """Wait for a session to be in one of these states; False if it is not in time."""
        changed = asyncio.Event()
        waiting = self._waiting.setdefault(session, set())
        waiting.add(changed)
        try:
            async with asyncio.timeout(seconds):
                while self.states.get(session) not in words:
                    changed.clear()
                    await changed.wait()
        except TimeoutError:
            return False
        finally:
            waiting.discard(changed)
        return True

    def wrote(self, message: str, began: float) -> None:
        """Note when a friend began to write a message (by `perf_counter`)."""
        if (heard := self._early.pop(message, None)) is not None:
            self._note(began, heard)
        else:
            self._written[message] = began

    def _received(self, message: str) -> None:
        # The feed can be faster than the phone's own answer, which tells the id.
        heard = time.perf_counter()
        if (began := self._written.pop(message, None)) is not None:
            self._note(began, heard)
        else:
            self._early[message] = heard

    def _note(self, began: float, heard: float) -> None:
        took = heard - began
        self._diary.heard.append(Heard(self._diary.now - (time.perf_counter() - began), took))
