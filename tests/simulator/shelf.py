"""Files that messages carry, as WhatsApp's media servers keep them."""

import base64
import hashlib
import shutil
from pathlib import Path

from aiohttp import web

LARGEST = 100_000_000


class Shelf:
    """Files below one folder, each under the hex of its hash."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def routes(self) -> list[web.RouteDef]:
        """Where pages put and get them."""
        return [web.post("/sim/media", self._post), web.get("/sim/media/{name}", self._get)]

    def put(self, content: bytes, mime: str, filename: str = "") -> dict[str, object]:
        """Keep a file; returns what a message says of it."""
        digest = hashlib.sha256(content)
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / digest.hexdigest()).write_bytes(content)
        return {
            "mimetype": mime,
            "filename": filename,
            "size": len(content),
            "filehash": base64.b64encode(digest.digest()).decode(),
            "directPath": f"/sim/media/{digest.hexdigest()}",
        }

    def empty(self) -> None:
        """Lose all files."""
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _post(self, request: web.Request) -> web.Response:
        told = self.put(await request.read(), request.content_type)
        return web.json_response(told)

    async def _get(self, request: web.Request) -> web.StreamResponse:
        path = self._folder / Path(request.match_info["name"]).name
        if not path.is_file():
            raise web.HTTPGone
        return web.FileResponse(path)
