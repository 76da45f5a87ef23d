"""The application: routes, and what stands before them.

FastAPI rather than bare Starlette: the OpenAPI document, with its examples and
errors, comes from the same declarations that check the requests, so it cannot
drift from them. It costs about half of Starlette's throughput, and still does
some 3,000 requests a second where a hundred sessions send at most 100.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from events.settings import Settings
from events.traces import where
from gateway import (
    archive,
    asyncapi,
    breakers,
    charts,
    chats,
    content,
    docs,
    health,
    keys,
    messages,
    metrics,
    nodes,
    qr,
    screenshots,
    sessions,
    sse,
    steering,
    timeline,
    websocket,
)
from gateway.access import Access
from gateway.auth import Auth
from gateway.bodies import Bodies
from gateway.broker import BrokerAway
from gateway.budget import Budgets
from gateway.callers import ANYONE, needs
from gateway.console import routes as console
from gateway.edges import Edges
from gateway.health import Health
from gateway.health_history import History, RedisShelf
from gateway.idempotency import Idempotency
from gateway.origins import Cors, Origins, Pages
from gateway.parts import Parts, assemble
from gateway.problems import Problem, broker_away, from_validation, read_models_away
from gateway.remembered import Remembered
from gateway.socketio import SocketIO
from gateway.spelling import Spelling, has_head
from gateway.tasks import end
from gateway.webhooks import letter_routes
from gateway.webhooks import routes as webhooks
from projections.read import ReadModels, ReadModelsAway, RedisReadModels

log = structlog.get_logger()

TOLD_HEADERS = [
    "Retry-After",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "RateLimit-Policy",
    "RateLimit",
    "X-Position",
    "Idempotency-Replayed",
]


def create_app(settings: Settings, key: str, reads: ReadModels | None = None) -> FastAPI:
    """Build the application; `key` is the admin key, `reads` is Redis unless given."""
    parts = assemble(settings, key, reads)
    shelf = RedisShelf(settings) if reads is None else None
    history = History(shelf)
    watch = Health(parts, history)
    origins = Origins.of(settings)
    rooms = SocketIO(parts.feed, parts.keyring)
    app = FastAPI(
        title="WhatsApp session service",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=lambda _: _running(
            parts, shelf, history.run, watch.run, rooms.sweep, parts.webhooks.run
        ),
        redirect_slashes=False,
    )
    app.state.parts = parts
    app.state.health = watch
    _add_routes(app)
    app.mount("/socket.io", needs(ANYONE)(rooms))
    for kind in (HTTPException, RequestValidationError, BrokerAway, ReadModelsAway):
        app.add_exception_handler(kind, _answer_problem)
    _stand_before(app, parts, origins)
    return app


def _add_routes(app: FastAPI) -> None:
    for router in (
        # Before the sessions: GET /api/sessions/{userId}/{plubotId} takes any two words.
        chats.router,
        content.router,
        archive.router,
        timeline.router,
        charts.router,
        screenshots.router,
        sessions.router,
        steering.router,
        breakers.router,
        nodes.router,
        qr.router,
        keys.router,
        messages.router,
        health.router,
        metrics.router,
        sse.router,
        websocket.router,
        webhooks.router,
        letter_routes.router,
        console.router,
    ):
        app.include_router(router)
    app.add_route("/openapi.json", docs.openapi, include_in_schema=False)
    app.add_route("/asyncapi.json", asyncapi.door, include_in_schema=False)
    app.add_route("/docs", docs.page, include_in_schema=False)


def _stand_before(app: FastAPI, parts: Parts, origins: Origins) -> None:
    """Add what each request passes through before its route."""
    # The last one added stands first: CORS, so that a browser may read a 401 as well.
    app.add_middleware(Idempotency, remembered=Remembered(parts.broker))
    app.add_middleware(Bodies, file=parts.settings.media_max_mb * 1_048_576)
    app.add_middleware(Auth, keyring=parts.keyring)
    app.add_middleware(Pages, origins=origins)
    app.add_middleware(Access, instruments=parts.instruments)
    app.add_middleware(Budgets, quotas=parts.quotas)
    app.add_middleware(
        Cors,
        allow_origins=origins.listed,
        allow_origin_regex=origins.pattern,
        allow_methods=["GET", "POST", "PUT", "DELETE"],
        # Whoever may call may say what they like.
        allow_headers=["*"],
        # Clients that are told to send cookies, which open nothing here, insist on this.
        allow_credentials="*" not in origins.listed,
        expose_headers=TOLD_HEADERS,
        max_age=600,
    )
    app.add_middleware(Spelling)
    app.add_middleware(Edges)


@contextlib.asynccontextmanager
async def _running(
    parts: Parts, shelf: RedisShelf | None, *more: Callable[[], Awaitable[None]]
) -> AsyncGenerator[None]:
    tasks = [
        asyncio.create_task(_for_ever(run))
        for run in (
            parts.broker.run,
            parts.keyring.watch,
            parts.feed.tail,
            parts.feed.tell_notices,
            *more,
        )
    ]
    try:
        yield
    finally:
        # The feed before its connection.
        for task in reversed(tasks):
            await end(task)
        await parts.quotas.close()
        if isinstance(parts.reads, RedisReadModels):
            await parts.reads.close()
        if shelf is not None:
            await shelf.close()


async def _for_ever(run: Callable[[], Awaitable[None]]) -> None:
    """Run what should never end, and again if a mistake of ours ends it."""
    while True:
        try:
            await run()
        except Exception as error:  # noqa: BLE001 - without it, the gateway goes on deaf
            log.error("gateway.task_failed", task=run.__qualname__, at=where(error))  # noqa: TRY400 - a trace would quote its text
        await asyncio.sleep(1)


async def _answer_problem(request: Request, error: Exception) -> Response:
    match error:
        case Problem():
            return error.response()
        case HTTPException():
            return _plain(request, error).response()
        case RequestValidationError():
            return from_validation(error.errors()).response()
        case BrokerAway():
            return broker_away().response()
        case ReadModelsAway():
            return read_models_away().response()
        case _:
            raise error


def _plain(request: Request, error: HTTPException) -> Problem:
    match error.status_code:
        case 404:
            return Problem(404, "no_route", "There is no such route.")
        case 405:
            return _wrong_method(request)
        case status:
            return Problem(status, "bad_request", "The request could not be read.")


def _wrong_method(request: Request) -> Problem:
    routes = [
        route
        for route in iter_route_contexts(request.app.routes)
        if route.matches(request.scope)[0] is not Match.NONE
    ]
    # `create` might be a session's id too, but whoever names that path means the route.
    open_parts = [(route.path or "").count("{") for route in routes]
    fewest = min(open_parts, default=0)
    named = [route for route, parts in zip(routes, open_parts, strict=True) if parts == fewest]
    taken = {method for route in named for method in route.methods or ()}
    taken |= {"HEAD"} if "GET" in taken and has_head(request.scope["path"]) else set()
    detail = f"This route does not take {request.method}."
    return Problem(405, "wrong_method", detail, headers={"Allow": ", ".join(sorted(taken))})
