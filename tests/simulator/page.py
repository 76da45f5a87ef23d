"""Serves the page: its document, its scripts in bundles, and what holds for this device."""

import hashlib
import json
import secrets
from pathlib import Path

from aiohttp import web

from tests.simulator.directory import number_of
from tests.simulator.knobs import KnobBoard

FOLDER = Path(__file__).parent / "page"

# In the order in which they run. The early ones are in the document; the others come in
# bursts. A module may name one of a later bundle as long as it uses it later, too.
EARLY = ("loader", "database", "filler", "start")
BUNDLES = (
    ("events", "models", "collections", "ids", "constants", "browser"),
    ("identity", "connection", "pairing", "presence", "contacts"),
    ("chats", "groups", "messages", "media", "history"),
    ("sending", "receiving", "lazy", "unsimulated", "wire", "session", "application"),
)

# The real page's kind of policy: no eval, no inline script without the nonce.
CONTENT_SECURITY_POLICY = (
    "default-src 'self' data: blob:; "
    "script-src 'self' data: blob: 'nonce-{nonce}' 'wasm-unsafe-eval' https://static.whatsapp.net; "
    "style-src 'self' 'unsafe-inline'; "
    "connect-src 'self' wss://web.whatsapp.com wss://*.web.whatsapp.com https://*.whatsapp.net; "
    "img-src * data: blob:; worker-src 'self' blob: data:; object-src 'none'; base-uri 'self'"
)


class Page:
    """The document and its scripts, read once."""

    def __init__(self, knobs: KnobBoard) -> None:
        self._knobs = knobs
        self._document = (FOLDER / "index.html").read_text()
        self._scripts: dict[str, str] = {}
        self._early = self._script(EARLY, FOLDER)
        self._bundles = [self._script(names, FOLDER / "modules") for names in BUNDLES]

    def routes(self) -> list[web.RouteDef]:
        """What the page asks for."""
        return [
            web.get("/", self._get_document),
            web.get("/sim/start", self._get_start),
            web.get("/sim/{name}.js", self._get_script),
        ]

    def _script(self, names: tuple[str, ...], folder: Path) -> str:
        text = "\n".join((folder / f"{name}.js").read_text() for name in names)
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        self._scripts[digest] = text
        return f"/sim/{digest}.js"

    async def _get_document(self, request: web.Request) -> web.Response:
        nonce = secrets.token_hex(8)
        text = self._document.replace("%NONCE%", nonce).replace("%EARLY%", self._early)
        headers = {"Cache-Control": "no-store"}
        if self._knobs.everybody.csp:
            headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY.format(nonce=nonce)
        return web.Response(text=text, content_type="text/html", headers=headers)

    async def _get_script(self, request: web.Request) -> web.Response:
        text = self._scripts.get(request.match_info["name"])
        if text is None:
            raise web.HTTPNotFound
        headers = {"Cache-Control": "public, max-age=31536000, immutable"}
        return web.Response(text=text, content_type="text/javascript", headers=headers)

    async def _get_start(self, request: web.Request) -> web.Response:
        wid = request.query.get("wid", "")
        knobs = self._knobs.of(number=number_of(wid), device=request.query.get("device", ""))
        text = json.dumps({"knobs": knobs.plain(), "bundles": self._bundles})
        return web.Response(
            text=text, content_type="application/json", headers={"Cache-Control": "no-store"}
        )
