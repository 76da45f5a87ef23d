"""Where the console's files are served: the page at `/`, all else under its digest."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from gateway.callers import ANYONE, needs
from gateway.console.bundle import Bundle, File
from gateway.problems import Problem

router = APIRouter(include_in_schema=False)

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        # Codes come as data, screenshots and files of chats as blobs: their routes want a key.
        "img-src 'self' data: blob:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        # A text that becomes markup throws, wherever in the page somebody tries.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
"""What the console's page may load: its own files, and nothing from any other host."""

FOR_EVER = "public, max-age=31536000, immutable"
ASK_AGAIN = "no-cache"

# Small, and the same for the whole life of the process.
_BUNDLE = Bundle.read()


@router.get("/")
@needs(ANYONE)
async def page(request: Request) -> Response:
    """Give the page. It holds no secret: what it shows, it asks for with the key typed into it."""
    tag = f'"{_BUNDLE.digest}"'
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": ASK_AGAIN, "ETag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return _served(request, _BUNDLE.entry, headers)


@router.get("/console/{digest}/{name}")
@needs(ANYONE)
async def file(request: Request, digest: str, name: str) -> Response:
    """Give a file. Another content has another address, so a browser may keep it for ever."""
    held = _BUNDLE.files.get(name)
    if held is None or digest != _BUNDLE.digest:
        raise Problem(404, "no_route", "The console has no such file; load its page again.")
    return _served(request, held, {"Cache-Control": FOR_EVER})


def _served(request: Request, held: File, headers: dict[str, str]) -> Response:
    headers = headers | {"Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers |= {"Content-Encoding": "gzip"}
        return Response(held.packed, headers=headers, media_type=held.kind)
    return Response(held.plain, headers=headers, media_type=held.kind)
