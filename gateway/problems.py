"""Errors as clients get them: `application/problem+json` (RFC 9457)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from pydantic import JsonValue
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

RETRY_AFTER = 1.0
"""Seconds that a 429 or a 503 asks for when nothing better is known."""


# A subclass of Starlette's own: FastAPI lets it through where it would turn
# any other exception in reading a body into a vague 400.
class Problem(HTTPException):
    """An answer that is a no: `reason` is a stable word, `detail` a sentence for people."""

    def __init__(
        self,
        status: int,
        reason: str,
        detail: str,
        *,
        retry_after: float | None = None,
        headers: Mapping[str, str] | None = None,
        **more: JsonValue,
    ) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.reason = reason
        self.retry_after = (
            (RETRY_AFTER if retry_after is None else retry_after) if status in {429, 503} else None
        )
        self.more = more

    def body(self) -> dict[str, JsonValue]:
        """Return the JSON of the answer."""
        body: dict[str, JsonValue] = {
            "type": f"urn:wa:problem:{self.reason.replace('_', '-')}",
            "title": title(self.status_code),
            "status": self.status_code,
            "detail": self.detail,
            "success": False,
            "error": self.detail,
            "reason": self.reason,
        }
        if self.retry_after is not None:
            body["retryAfter"] = math.ceil(self.retry_after * 1000)
        return body | self.more

    def response(self) -> JSONResponse:
        """Return the answer itself."""
        headers = {"Cache-Control": "no-store", **(self.headers or {})}
        if self.retry_after is not None:
            headers["Retry-After"] = str(max(1, math.ceil(self.retry_after)))
        if self.status_code == 401:
            headers["WWW-Authenticate"] = 'ApiKey header="x-api-key", Bearer'
        return JSONResponse(
            self.body(), self.status_code, headers, media_type="application/problem+json"
        )


def title(status: int) -> str:
    """Name a status in words."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def not_found(what: str) -> Problem:
    """Say that there is no such session."""
    return Problem(404, "not_found", f"There is no session {what}.", exists=False)


def broker_away() -> Problem:
    """Say that NATS is away, without saying where it was."""
    return Problem(503, "broker_away", "The message broker is away; try again.", retry_after=2)


def read_models_away() -> Problem:
    """Say that Redis is away, without saying where it was."""
    return Problem(503, "read_models_away", "The read models are away; try again.", retry_after=2)


def from_validation(errors: Sequence[Any]) -> Problem:
    """Turn what pydantic found wrong with a request into one sentence a field."""
    found: list[JsonValue] = []
    sentences: list[str] = []
    for error in errors:
        field, rule = _field(error), _rule(error)
        found.append({"field": field, "rule": rule})
        sentences.append(f"{field} {rule}")
    reason = "too_long" if any(e["type"] == "too_long" for e in errors) else "bad_input"
    status = 413 if reason == "too_long" else 400
    return Problem(status, reason, "; ".join(sentences) + ".", errors=found)


_TYPES: Mapping[str, str] = {
    "missing": "is missing",
    "string_type": "must be text",
    "string_unicode": "must be valid Unicode text",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "dict_type": "must be an object",
    "model_attributes_type": "must be a JSON object",
    "model_type": "must be a JSON object",
}


def _field(error: Mapping[str, Any]) -> str:
    place = [str(part) for part in error["loc"]]
    if error["type"] == "json_invalid" or len(place) < 2:
        return "The body"
    return ".".join(place[1:])


def _rule(error: Mapping[str, Any]) -> str:
    kind = str(error["type"])
    if kind == "json_invalid":
        return f"is no valid JSON (at character {error['loc'][-1]})"
    told = str(error["msg"])
    # Our own rules are whole predicates; pydantic's begin with "Input should".
    return _TYPES.get(kind) or re.sub(r"^Input should", "must", told)


_ADDRESS = re.compile(
    r"\b[a-z][a-z0-9+.-]*://\S+|\b(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?|\[[0-9a-f:]+\](?::\d+)?"
    r"|(?:/[\w.@-]+){2,}",
    re.IGNORECASE,
)


def without_addresses(text: str) -> str:
    """Drop URLs, addresses and paths from a text that comes from inside."""
    return _ADDRESS.sub("…", text)
