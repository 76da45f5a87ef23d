"""The simulator as one web application: page, sockets, control, on one data folder."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

from tests.simulator.connection import Connection
from tests.simulator.control import Control
from tests.simulator.database import open_database
from tests.simulator.directory import Directory
from tests.simulator.knobs import KnobBoard, Knobs
from tests.simulator.ledger import Ledger
from tests.simulator.page import Page
from tests.simulator.shelf import LARGEST, Shelf
from tests.simulator.switchboard import Switchboard

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_application(folder: Path, knobs: Knobs) -> web.Application:
    """Wire everything to the data in `folder`."""
    file = open_database(folder)
    board = KnobBoard(knobs)
    shelf = Shelf(folder / "media")
    switchboard = Switchboard(Directory(file), Ledger(file), board)

    @web.middleware
    async def reachable(request: web.Request, handler: Handler) -> web.StreamResponse:
        if board.everybody.unreachable and not request.path.startswith("/_sim/"):
            return web.Response(status=503, text="WhatsApp is unreachable")
        return await handler(request)

    async def chat(request: web.Request) -> web.StreamResponse:
        if board.everybody.refuse_sockets:
            return web.Response(status=503, text="no sockets today")
        # Compression costs more than it saves between two processes of one machine.
        socket = web.WebSocketResponse(heartbeat=20, compress=False)
        await socket.prepare(request)
        await Connection(socket).run(switchboard)
        return socket

    async def start(_: web.Application) -> None:
        switchboard.receipts.resume()

    async def stop(_: web.Application) -> None:
        switchboard.receipts.close()
        for connection in list(switchboard.connections.values()):
            connection.close()

    async def clean_up(_: web.Application) -> None:
        file.close()

    application = web.Application(middlewares=[reachable], client_max_size=LARGEST)
    application.add_routes(
        [
            web.get("/ws/chat", chat),
            *shelf.routes(),
            *Page(board).routes(),
            *Control(switchboard, file, shelf).routes(),
        ]
    )
    application.on_startup.append(start)
    application.on_shutdown.append(stop)
    application.on_cleanup.append(clean_up)
    return application
