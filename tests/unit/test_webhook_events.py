"""Which events can be asked for: all that the log can tell, and nothing that it cannot."""

from __future__ import annotations

from pathlib import Path

from events import codec
from events.subjects import SessionId
from gateway import frames
from gateway.frames import Told
from gateway.webhooks.endpoint import EVENTS

GOLDEN = Path(__file__).parents[1] / "golden"


def test_the_names_are_those_of_every_event_ever_written() -> None:
    names: set[str] = set()
    for path in GOLDEN.glob("wa.*.v*.json"):
        envelope = codec.decode(path.read_bytes())
        payload = codec.payload_of(envelope)
        session = SessionId("ann", "shop")
        for other in (False, True):
            for flag in ("from_me", "again"):
                if hasattr(payload, flag):
                    payload = payload.model_copy(update={flag: other})
            told = Told(session, envelope, payload, position=1)
            frame = frames.of_event(told)
            names |= set() if frame is None else {name for name, _ in frame.faces}

    assert names == EVENTS
