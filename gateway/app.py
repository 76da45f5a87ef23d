"""The application: routes, and what stands before them.

FastAPI rather than bare Starlette: the OpenAPI document, with its examples and
errors, comes from the same declarations that check the requests, so it cannot
drift from them. It costs about half of Starlette's throughput, and still does
some 3,000 requests a second where a hundred sessions send at most 100.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from events.settings import Settings
from gateway import messages, qr, sessions
from gateway.access import Access
from gateway.auth import Auth
from gateway.bodies import Bodies
from gateway.broker import BrokerAway
from gateway.parts import Parts, assemble
from gateway.problems import Problem, broker_away, from_validation, read_models_away
from projections.read import ReadModels, ReadModelsAway


def create_app(settings: Settings, reads: ReadModels, key: str) -> FastAPI:
    """Build the application; `key` is the admin key."""
    parts = assemble(settings, reads)
    app = FastAPI(
        title="WhatsApp session service",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=lambda _: _running(parts),
        redirect_slashes=False,
    )
    app.state.parts = parts
    for router in (sessions.router, qr.router, messages.router):
        app.include_router(router)
    app.add_exception_handler(HTTPException, _answer_problem)
    app.add_exception_handler(RequestValidationError, _answer_problem)
    app.add_exception_handler(BrokerAway, _answer_problem)
    app.add_exception_handler(ReadModelsAway, _answer_problem)
    # The last one added stands first.
    app.add_middleware(Bodies)
    app.add_middleware(Auth, key=key)
    app.add_middleware(Access)
    return app


@contextlib.asynccontextmanager
async def _running(parts: Parts) -> AsyncGenerator[None]:
    task = asyncio.create_task(parts.broker.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


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
            return Problem(405, "wrong_method", f"This route does not take {request.method}.")
        case status:
            return Problem(status, "bad_request", "The request could not be read.")
