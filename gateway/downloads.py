"""Files by URL: streamed to disk, behind the guard that webhooks stand behind.

Each connection is made to an address that was checked a moment before, so neither a
redirect nor a name that changes its mind leads to where nobody may call.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast
from urllib.parse import unquote, urljoin, urlsplit

import httpcore
import httpx
from starlette.datastructures import Headers, UploadFile

from events.settings import Settings
from gateway.addresses import Forbidden, Guarded, Reachable, bad_url
from gateway.problems import Problem
from gateway.turns import Turns

CONNECTIONS, EACH = 8, 2
"""Files that are fetched at once, and those of one user among them."""

HOPS = 4
"""Requests for one file: the first, and three redirects."""

IN_MEMORY = 1_048_576
"""Bytes of a file that lie in memory; what is beyond goes to disk."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Downloads:
    """Fetches files. Knows no proxy, keeps no cookie and no connection."""

    def __init__(self, settings: Settings, network: Guarded | None = None) -> None:
        """`network` is the machine's own unless given."""
        self._reachable = Reachable.by(settings)
        self._largest = settings.media_max_mb * 1_048_576
        self._timeout = settings.media_timeout
        self._network = network or Guarded(self._reachable)
        self._turns = Turns(CONNECTIONS, EACH)

    async def fetch(self, url: str, user: str) -> UploadFile:
        """Fetch a file for a user, to be closed by the caller.

        Raises Problem: 400 for a URL that is none, 413 for a file too large, 504 for one
        that does not come in time, 503 while too many others are fetched, and 422
        (`url_forbidden`, `url_failed`) for all else.
        """
        rule = bad_url(url, self._reachable)
        if rule is not None:
            raise Problem(400, "bad_input", f"url {rule}.", errors=[{"field": "url", "rule": rule}])
        try:
            async with self._turns.turn(user, self._timeout):
                return await self._in_time(url)
        except TimeoutError:
            detail = "Too many files are being fetched; try again."
            raise Problem(503, "busy", detail, retry_after=1) from None

    async def _in_time(self, url: str) -> UploadFile:
        try:
            async with asyncio.timeout(self._timeout):
                return await self._follow(url)
        except TimeoutError:
            detail = f"The URL did not give the file within {self._timeout:g} s."
            raise Problem(504, "url_timeout", detail) from None
        except Forbidden as error:
            raise Problem(422, "url_forbidden", f"The URL is not fetched: {error}.") from None
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException):
            detail = "The URL's server cannot be reached, or broke off."
            raise Problem(422, "url_failed", detail) from None

    async def _follow(self, url: str) -> UploadFile:
        # A pool for each file: what is kept open between two strangers is of no use.
        async with httpcore.AsyncConnectionPool(
            ssl_context=_tls(), network_backend=self._network
        ) as pool:
            for _ in range(HOPS):
                headers = [("User-Agent", "wa-sessions"), ("Accept-Encoding", "identity")]
                async with pool.stream("GET", url, headers=headers) as response:
                    told = Headers(raw=[(name.lower(), value) for name, value in response.headers])
                    if response.status not in _REDIRECTS:
                        return await self._read(url, response, told)
                    url = self._next(url, told.get("location", ""))
        raise Problem(422, "url_failed", f"The URL redirects more than {HOPS - 1} times.")

    def _next(self, url: str, location: str) -> str:
        """Return where a redirect leads; raises Problem 422."""
        with suppress(ValueError):
            url = urljoin(url, location)
        rule = bad_url(url, self._reachable)
        if rule is not None:
            raise Problem(422, "url_forbidden", f"The URL redirects to one that {rule}.")
        return url

    async def _read(self, url: str, response: httpcore.Response, told: Headers) -> UploadFile:
        if response.status != 200:
            raise Problem(422, "url_failed", f"The URL answered {response.status}.")
        if told.get("content-encoding", "identity").lower() != "identity":
            raise Problem(422, "url_failed", "The URL gave the file compressed, though not asked.")
        length = told.get("content-length", "")
        if length.isdigit() and int(length[:18]) > self._largest:
            raise too_large(self._largest)
        file, size = SpooledTemporaryFile(max_size=IN_MEMORY), 0  # noqa: SIM115 - the caller closes it
        try:
            async for part in response.aiter_stream():
                size += len(part)
                if size > self._largest:
                    raise too_large(self._largest)
                file.write(part)
            file.seek(0)
        except BaseException:
            file.close()
            raise
        name = unquote(urlsplit(url).path.rpartition("/")[2])
        return UploadFile(
            cast("BinaryIO", file), size=size, filename=name or None, headers=_type_of(told)
        )


def too_large(largest: int) -> Problem:
    """Say that a file is too large."""
    return Problem(413, "too_large", f"The file is larger than {largest:,} bytes.")


def _type_of(told: Headers) -> Headers:
    return Headers({"content-type": told.get("content-type", "")})


def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)
