"""`wa why`: why a session stands as it does, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import JsonValue

from gateway.cli.service import CannotDo, Service
from gateway.cli.tail import since
from gateway.wire import instant


def told(service: Service, session: str, at: str | None, events: int) -> Iterator[str]:
    """Give the story of a session line by line, at a moment or now. Raises CannotDo."""
    asked: dict[str, JsonValue] = {"limit": max(1, events)}
    if at is not None:
        moment = since(at, "--at")
        if moment.time is None:
            raise CannotDo(f"--at {at}: give a span (10m ago: 10m) or a time (2026-01-31T12:00)")
        asked["at"] = instant(moment.time)
    with service.http() as http:
        answer = service.call(http, "GET", f"/api/sessions/{session}/timeline", params=asked)
    why, story = answer.get("why"), answer.get("story")
    yield f"{session} at {_moment(answer.get('at'))} UTC"
    yield from (str(sentence) for sentence in (why if isinstance(why, list) else []))
    if events and isinstance(story, list):
        yield ""
        for each in story:
            if isinstance(each, dict):
                yield f"{_moment(each.get('at'))}  {each.get('status')!s:13} {each.get('text')}"


def _moment(at: JsonValue) -> str:
    return str(at or "")[:19].replace("T", " ")
