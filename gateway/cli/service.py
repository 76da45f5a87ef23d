"""Where the service is: what `make up` wrote down, unless flags or the environment say more."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import httpx
from pydantic import JsonValue, SecretStr

from events.settings import BadSettings, Role, Settings, load

Json = dict[str, JsonValue]


class CannotDo(Exception):
    """Something is in the way, and it says what and how to mend it."""


@dataclass(frozen=True, slots=True)
class Service:
    """A service that can be talked to. Settings hold the way to NATS (as ops) and to Redis."""

    url: str
    key: str
    settings: Settings

    def http(self, timeout: float = 40) -> httpx.Client:
        """Open a client of the gateway."""
        # A proxy of the machine has no business between us and our own service.
        return httpx.Client(
            base_url=self.url, headers={"x-api-key": self.key}, timeout=timeout, trust_env=False
        )

    def call(self, http: httpx.Client, method: str, path: str, **more: object) -> Json:
        """Ask the gateway and return its answer; raises CannotDo."""
        try:
            answer = http.request(method, path, **more)  # pyright: ignore[reportArgumentType]
        except httpx.TimeoutException:
            raise CannotDo(f"{self.url} does not answer in time") from None
        except (httpx.HTTPError, httpx.InvalidURL):
            raise CannotDo(
                f"no service answers at {self.url}: start it with `make up`, or say --url"
            ) from None
        try:
            body = cast("Json", answer.json())
        except ValueError:
            raise CannotDo(f"{self.url} is no gateway: it answers {answer.status_code}") from None
        if answer.is_success:
            return body
        detail = body.get("detail") or f"HTTP {answer.status_code}"
        if answer.status_code == 401:
            raise CannotDo(f"{detail} Say --api-key or API_KEY.")
        raise CannotDo(str(detail))


def find(url: str | None, key: str | None) -> Service:
    """Find the service; raises CannotDo."""
    try:
        settings = load()
    except BadSettings as error:
        raise CannotDo(str(error)) from None
    note = _note(settings)
    told = url or _text(note, "gateway_url") or f"http://{_reachable(settings)}:{settings.port}"
    held = key or _key(settings, note)
    if held is None:
        raise CannotDo(
            f"no service runs on {settings.data_dir}, and there is no API key in "
            f"{settings.api_key_file}: start it with `make up`, or say --url and --api-key"
        )
    return Service(told.rstrip("/"), held, _addressed(settings, note))


def broker_and_redis(role: Role = "ops") -> Settings:
    """Find the way to NATS and to Redis, for what needs no gateway; raises CannotDo."""
    try:
        settings = load()
    except BadSettings as error:
        raise CannotDo(str(error)) from None
    note = _note(settings)
    if settings.nats_url is None and not note:
        raise CannotDo(
            f"no service runs on {settings.data_dir}: start it with `make up`, "
            "or set DATA_DIR to its folder, or NATS_URL to its broker"
        )
    return _addressed(settings, note, role)


@dataclass(frozen=True, slots=True)
class Embedded:
    """The NATS that `up` runs: where it is, the file of its tenants, and the process of `up`."""

    url: str
    tenants: Path
    up: int


def embedded_nats() -> Embedded | None:
    """Find the NATS that `up` runs; None if it is somebody else's. Raises CannotDo if none runs."""
    settings = broker_and_redis()
    note = _note(settings)
    url, tenants, up = _text(note, "nats_url"), _text(note, "nats_tenants"), note.get("pid")
    if settings.nats_url != url or url is None or tenants is None or not isinstance(up, int):
        return None
    return Embedded(url, Path(tenants), up)


def _note(settings: Settings) -> Json:
    """Read what the running service wrote down: of this mode first, then of the other."""
    homes = [settings.home, settings.data_dir / "live", settings.data_dir / "sandbox"]
    for home in homes:
        try:
            note = cast("Json", json.loads((home / "up.json").read_text()))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError) as error:
            raise CannotDo(f"{home / 'up.json'} cannot be read: {error}") from None
        if _is_alive(note.get("pid")):
            return note
    return {}


def _is_alive(pid: JsonValue) -> bool:
    if not isinstance(pid, int):
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        # Killed before it could tidy up: what it wrote is not true any more.
        return False
    except PermissionError:
        pass
    return True


def _key(settings: Settings, note: Json) -> str | None:
    if settings.api_key is not None:
        return settings.api_key.get_secret_value()
    file = Path(_text(note, "api_key_file") or settings.api_key_file)
    try:
        return file.read_text().strip() or None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CannotDo(f"{file}: {error.strerror}; say --api-key or API_KEY") from None


def _addressed(settings: Settings, note: Json, role: Role = "ops") -> Settings:
    """Return the settings with what the environment leaves open taken from the note."""
    more: dict[str, object] = {}
    if settings.nats_url is None and _text(note, "nats_url"):
        more["nats_url"] = _text(note, "nats_url")
        passwords = note.get("nats_passwords")
        password = passwords.get(role) if isinstance(passwords, dict) else None
        if isinstance(password, str):
            more["nats_password"] = SecretStr(password)
    if not settings.outside_redis and (_text(note, "redis_url") or _text(note, "redis_host")):
        url = _text(note, "redis_url")
        more["redis_url"] = SecretStr(url) if url else None
        more["redis_host"] = _text(note, "redis_host")
        more["redis_port"] = note.get("redis_port")
        password = _text(note, "redis_password")
        more["redis_password"] = SecretStr(password) if password else None
    return settings.model_copy(update=more)


def _text(note: Json, name: str) -> str | None:
    value = note.get(name)
    return value if isinstance(value, str) and value else None


def _reachable(settings: Settings) -> str:
    # An address to listen on is none to ask.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    return f"[{host}]" if ":" in host else host
