"""What health looks at, in the names of the wire contract."""

from __future__ import annotations

from gateway.checks.finding import Check
from gateway.checks.fleet import circuit_breakers, reconnection, session_pool, sessions
from gateway.checks.servers import nats, persistence, projections, redis
from gateway.checks.surroundings import system, websocket

CHECKS: dict[str, Check] = {
    "redis": redis,
    "nats": nats,
    "sessionPool": session_pool,
    "circuitBreakers": circuit_breakers,
    "websocket": websocket,
    "sessions": sessions,
    "system": system,
    "persistence": persistence,
    "reconnection": reconnection,
    "projections": projections,
}
CRITICAL = frozenset({"redis", "nats", "persistence"})
"""Without these nothing can be done: unhealthy. Without others, some things: degraded."""
