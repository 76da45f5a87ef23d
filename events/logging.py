"""Logs of every process: structlog, for people or as JSON lines, and never a secret."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from events.settings import Settings

SECRET_KEYS = frozenset(
    {
        *("body", "text", "caption", "quoted"),
        *("phone", "to", "chat", "sender", "author", "push_name", "lid"),
        *("qr", "code", "pairing_code"),
        *("api_key", "apikey", "key", "password", "secret", "token", "authorization"),
    }
)
"""Keys under which what must not be logged would come: bodies, people, codes, credentials."""

HIDDEN = "…"

_SECRETS = (
    re.compile(r"[0-9A-Za-z._-]+@(?:c\.us|g\.us|lid|s\.whatsapp\.net|broadcast)"),
    re.compile(r"(?<=://)[^/\s@]+(?=@)"),
    re.compile(r"(?i)(?<=api_key=)[^&\s\"']+"),
    # A validation error of pydantic shows the value that was wrong.
    re.compile(r"(?<=input_value=).*?(?=, input_type=)", re.DOTALL),
)


class SecretInLog(AssertionError):
    """A log line names something that must not be logged. Raised in tests only."""


def refuse_secrets(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Raise SecretInLog for a key that holds a secret: how a test finds the line."""
    for name in event:
        if name.lower() in SECRET_KEYS:
            raise SecretInLog(f"{event.get('event')}: {name} must not be logged")
    return event


def drop_secrets(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Leave out keys that hold secrets, and hide chat ids and credentials inside of texts."""
    return {name: _hide(value) for name, value in event.items() if name.lower() not in SECRET_KEYS}


def _hide(value: object) -> object:
    if not isinstance(value, str):
        return value
    for secret in _SECRETS:
        value = secret.sub(HIDDEN, value)
    return value


def configure(settings: Settings, process: str, *, strict: bool = False) -> None:
    """Set up logs of this process, to stderr. `strict` raises on secrets, for tests.

    Lines of the standard library's loggers come out in the same shape, from
    warnings on, and go through the same filter.
    """
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _named(process),
        *([refuse_secrets] if strict else []),
        # Not dict_tracebacks: those show local variables, and bodies are among them.
        structlog.processors.format_exc_info,
        drop_secrets,
    ]
    shape: Processor = (
        structlog.processors.JSONRenderer()
        if settings.log_json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[*shared, shape],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=not strict,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, shape],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(level, logging.WARNING))


def _named(process: str) -> Processor:
    def name(_: WrappedLogger, __: str, event: MutableMapping[str, Any]) -> EventDict:
        event.setdefault("process", process)
        return event

    return name
