"""One try: a frame is posted to an endpoint, and what came of it is told."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import httpcore
import httpx

from events.clock import utc_now
from gateway.addresses import Forbidden, Guarded
from gateway.webhooks import signing
from gateway.webhooks.cipher import Cipher, WrongKey
from gateway.webhooks.endpoint import Endpoint

LARGEST_ANSWER = 512_000
"""Bytes of an answer that are read: a reply of 65,536 characters fits, each as \\u escapes."""

CONNECTIONS = 24
IDLE = 30.0


@dataclass(frozen=True, slots=True)
class Taken:
    """The endpoint took it. `reply` is a text to send back, if it gave one."""

    status: int
    reply: str | None = None


@dataclass(frozen=True, slots=True)
class NotTaken:
    """It did not, or cannot be told. `later`: seconds for which it asked us to wait."""

    error: str
    status: int | None = None
    later: float = 0.0


Outcome = Taken | NotTaken


Count = Callable[[str, float], None]
"""Takes note of a try: its outcome, and the seconds that it took."""


class Caller:
    """Posts to one endpoint. Knows no proxy, follows no redirect, keeps no cookie."""

    def __init__(
        self,
        endpoint: Endpoint,
        cipher: Cipher,
        network: Guarded,
        timeout: float,
        count: Count = lambda _outcome, _seconds: None,
    ) -> None:
        self._count = count
        self._endpoint = endpoint
        self._cipher = cipher
        self._timeout = timeout
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=_tls(),
            max_connections=CONNECTIONS,
            max_keepalive_connections=CONNECTIONS,
            keepalive_expiry=IDLE,
            network_backend=network,
        )

    async def post(self, event_id: str, body: bytes) -> Outcome:
        """Try once, for at most the timeout in all."""
        began = time.perf_counter()
        outcome = await self._try(event_id, body)
        word = "delivered" if isinstance(outcome, Taken) else "failed"
        self._count(word, time.perf_counter() - began)
        return outcome

    async def _try(self, event_id: str, body: bytes) -> Outcome:
        try:
            signed_with = self._endpoint.signed_with(self._cipher)
        except WrongKey as error:
            return NotTaken(str(error))
        headers = signing.headers(event_id, utc_now(), body, signed_with) | {
            "Content-Type": "application/json",
            "User-Agent": "wa-sessions",
        }
        try:
            async with asyncio.timeout(self._timeout):
                return await self._post(body, headers)
        except TimeoutError:
            return NotTaken(f"no answer within {self._timeout:g} s")
        except Forbidden as error:
            return NotTaken(str(error))
        except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
            # Text of TLS errors names what is wrong with a certificate, and no address.
            cause = error.__cause__ or error.__context__
            tls = isinstance(cause, ssl.SSLError) or "SSL" in str(error)
            return NotTaken(f"no TLS: {_short(error)}" if tls else "cannot connect")
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException):
            return NotTaken("the connection was cut")

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.aclose()

    async def _post(self, body: bytes, headers: dict[str, str]) -> Outcome:
        async with self._pool.stream(
            "POST", self._endpoint.url, headers=list(headers.items()), content=body
        ) as response:
            if not 200 <= response.status < 300:
                return NotTaken(f"HTTP {response.status}", response.status, _wait(response))
            read = bytearray()
            try:
                async for part in response.aiter_stream():
                    read += part
                    if len(read) > LARGEST_ANSWER:
                        return Taken(response.status)
            except (httpcore.NetworkError, httpcore.ProtocolError):
                # It said 2xx: only the rest of its words is lost.
                return Taken(response.status)
            return Taken(response.status, _reply(bytes(read)))


def _reply(raw: bytes) -> str | None:
    """Find the text of `{"reply": "text"}` in an answer."""
    try:
        answer: object = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    reply = cast("dict[str, Any]", answer).get("reply") if isinstance(answer, dict) else None
    return reply if isinstance(reply, str) and reply.strip() else None


def _wait(response: httpcore.Response) -> float:
    if response.status not in {429, 503}:
        return 0.0
    for name, value in response.headers:
        if name.lower() == b"retry-after" and value.isdigit():
            return float(value[:9])
    return 0.0


def _short(error: Exception) -> str:
    return str(error).partition(" (")[0][:120] or type(error).__name__


def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)
