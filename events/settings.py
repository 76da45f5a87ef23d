"""Configuration shared by all parts, from the environment.

Every name is the environment variable in capitals. `PORT`, `REDIS_HOST`,
`REDIS_PORT` and `PUPPETEER_EXECUTABLE_PATH` are the names deployments of this
kind of service already use.
"""

from __future__ import annotations

import re
import socket
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from events.redis_url import Address, Server, parse
from events.subjects import token

Role = Literal["node", "gateway", "projector", "ops", "service"]


PRIVATE: tuple[IPv4Network | IPv6Network, ...] = tuple(
    ip_network(network)
    for network in (
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8"),
        *("::1/128", "fc00::/7"),
    )
)
"""What `WEBHOOK_ALLOW_PRIVATE=true` opens; not link-local, where cloud metadata is."""


class BadSettings(Exception):
    """The configuration does not hold; the message names each variable and its rule."""


def _default_node() -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname())[:64] or "node"


def allowed_networks(written: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Read `WEBHOOK_ALLOW_PRIVATE`; raises ValueError naming the rule."""
    match written.strip().lower():
        case "" | "false":
            return ()
        case "true":
            return PRIVATE
        case _:
            try:
                return tuple(ip_network(one.strip()) for one in written.split(","))
            except ValueError as error:
                raise ValueError(f"must be true, false or networks with commas: {error}") from None


class Settings(BaseSettings):
    """Every knob, with its default. Times are seconds, sizes are in the unit of the name."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True)

    # where things are
    host: str = Field("127.0.0.1", description="Address the gateway listens on.")
    port: int = Field(3001, ge=0, le=65535, description="Port of the gateway; 0 takes a free one.")
    data_dir: Path = Field(Path("data"), description="Everything that is kept lives below it.")
    node: str = Field(default_factory=_default_node, description="Name of this node.")
    nats_url: str | None = Field(
        None,
        description="NATS to use, the servers of a cluster with commas; unset: an embedded one.",
    )
    nats_port: int = Field(
        0, ge=0, le=65535, description="Embedded NATS: port; 0 takes a free one."
    )
    nats_password: SecretStr | None = Field(
        None, description="Password of this role at NATS; embedded: made at first start."
    )
    redis_host: str | None = Field(None, description="Redis to use; unset: an embedded one.")
    redis_port: int = Field(6379, ge=1, le=65535, description="Port of that Redis.")
    redis_password: SecretStr | None = Field(
        None, description="Password of that Redis, unless the URL has one."
    )
    redis_url: SecretStr | None = Field(
        None,
        description="Redis to use instead, as one URL: `redis://HOST:PORT`, "
        "`redis+cluster://HOST:PORT,HOST:PORT` or "
        "`redis+sentinel://HOST:PORT,HOST:PORT/SERVICE`; `rediss` for TLS.",
    )
    redis_ca: Path | None = Field(
        None, description="File of who signs the certificates of that Redis; unset: the system's."
    )
    redis_sentinel_password: SecretStr | None = Field(
        None, description="Password of the Sentinels themselves."
    )
    replicas: int = Field(
        1,
        ge=1,
        le=5,
        description="Copies JetStream keeps of each stream and bucket; a node that starts "
        "makes or drops copies in place.",
    )

    # keys
    api_key: SecretStr | None = Field(
        None, description="First admin key; unset: made and kept in a 0600 file below DATA_DIR."
    )

    webhook_key: SecretStr | None = Field(
        None,
        description="Base64 of the 32 bytes that encrypt webhook secrets, the same on every "
        "gateway; unset: made and kept in a 0600 file below DATA_DIR.",
    )

    vault_key: SecretStr | None = Field(
        None,
        description="Base64 of the 32 bytes that encrypt snapshots of profiles, the same on every "
        "node; several with commas: the first seals; unset: made and kept in a 0600 file below "
        "DATA_DIR.",
    )

    cors_origins: str = Field(
        "", description="Origins whose pages may call the gateway, separated by commas."
    )

    # browser
    puppeteer_executable_path: Path | None = Field(
        None, description="Chromium to use; unset: the system's."
    )
    wa_js: Path = Field(
        Path("node_modules/@wppconnect/wa-js/dist/wppconnect-wa.js"),
        description="The wa-js bundle that drives the page.",
    )
    sandbox_url: str | None = Field(
        None, description="Loopback URL of a simulated WhatsApp; unset: the real one."
    )
    browser_heap_mb: int = Field(256, ge=64, description="JavaScript heap cap of a session's page.")
    chromium_args: str = Field("", description="Further Chromium arguments, separated by spaces.")
    start_concurrency: int = Field(6, ge=1, description="Browsers that may start at once.")

    # limits
    max_sessions: int = Field(100, ge=1, description="Sessions in all.")
    max_sessions_per_user: int = Field(5, ge=1, description="Sessions of one user.")
    node_sessions: int = Field(
        0, ge=0, description="Sessions that this node takes at most; 0: as many as memory allows."
    )
    max_pending_sends: int = Field(1_000, ge=1, description="Sends that may wait in one session.")
    max_message_chars: int = Field(65_536, ge=1, le=65_536, description="Length of a text message.")

    # quotas of a user over HTTP, beside those for messages below
    sessions_per_minute: int = Field(
        10, ge=0, description="Creates and reconnects of a user a minute; 0: no limit."
    )
    sessions_per_second: int = Field(
        3, ge=0, description="Creates and reconnects of a user a second; 0: no limit."
    )
    qr_per_5_minutes: int = Field(
        5, ge=0, description="New QR codes that a user asks for in five minutes; 0: no limit."
    )
    qr_per_second: int = Field(
        2, ge=0, description="New QR codes that a user asks for in a second; 0: no limit."
    )
    new_chats_per_day: int = Field(
        250, ge=0, description="Strangers that a user writes to first in a day; 0: no limit."
    )
    rate_limit_fallback: Literal["local", "refuse", "allow"] = Field(
        "local",
        description="While Redis is away: each gateway counts alone, refuses (503), or allows all.",
    )

    # supervision
    launch_timeout: float = Field(20, gt=0, description="Until Chromium speaks.")
    start_timeout: float = Field(60, gt=0, description="Until a start shows a code or is linked.")
    sync_timeout: float = Field(120, gt=0, description="From linked to ready.")
    offline_timeout: float = Field(60, gt=0, description="How long WhatsApp may be away.")
    probe_interval: float = Field(5, gt=0, description="Between liveness probes of a page.")
    probe_timeout: float = Field(5, gt=0, description="Until a probe of a page has failed.")
    backoff_first: float = Field(1, gt=0, description="Delay before the first new attempt.")
    backoff_max: float = Field(30, gt=0, description="Longest delay between attempts.")
    backoff_jitter: float = Field(0.2, ge=0, le=1, description="Share by which delays are spread.")
    backoff_attempts: int = Field(5, ge=1, description="Attempts before a session is suspended.")
    backoff_quiet: float = Field(60, gt=0, description="Ready for this long forgets failures.")
    suspend_time: float = Field(60, gt=0, description="How long a suspended session waits.")
    qr_max: int = Field(6, ge=1, description="Unscanned codes before a session rests.")

    node_breaker_failures: int = Field(
        5, ge=1, description="Sessions that fail to start in a row before the node pauses launches."
    )
    node_breaker_reset: float = Field(30, gt=0, description="Until the node tries one launch.")
    page_breaker_failures: int = Field(
        3, ge=1, description="Calls into a page that fail in a row before they are refused."
    )
    page_breaker_reset: float = Field(20, gt=0, description="Until one call is let through.")
    stale_hours: float = Field(
        24, ge=0, description="An unlinked session untouched for this long is removed; 0: never."
    )
    session_memory_mb: int = Field(
        700, ge=0, description="A browser above this is restarted when idle; 0: never."
    )
    memory_interval: float = Field(60, gt=0, description="Between measurements of a browser.")
    memory_reserve_mb: int = Field(
        512, ge=0, description="Memory of the machine that a launch must leave free."
    )

    # many nodes
    lease_ttl: float = Field(
        15, ge=3, description="Until the sessions of a node that fell silent are free for others."
    )
    drain_timeout: float = Field(
        120, gt=0, description="How long a node that stops hands its sessions over to others."
    )

    # sending and the log
    send_wait: float = Field(5, gt=0, description="How long HTTP waits for a send's outcome.")
    sends_per_minute: int = Field(60, ge=0, description="Messages of a user a minute; 0: no limit.")
    sends_per_second: int = Field(10, ge=0, description="Messages of a user a second; 0: no limit.")
    send_deadline: float = Field(3_600, gt=0, description="Until an unsent message expires.")
    send_memory: float = Field(7_200, gt=0, description="How far back sends are remembered.")
    message_days: float = Field(30, gt=0, description="How long message events are kept.")
    media_max_mb: int = Field(16, ge=0, le=100, description="Largest file; 0: no media.")
    media_days: float = Field(7, gt=0, description="How long files are kept.")
    media_timeout: float = Field(
        20, gt=0, description="Until a file was fetched, one that came or one by URL."
    )
    media_types: str = Field(
        "image/*,video/*,audio/*,text/plain,text/csv,application/pdf,application/zip,"
        "application/json,application/msword,application/vnd.*",
        description="Types of files that may be sent, separated by commas.",
    )
    dedupe_window: float = Field(120, ge=1, description="JetStream's duplicate window.")

    # the vault
    vault_after: float = Field(
        30,
        gt=0,
        description="From ready to a snapshot of the profile; the first of a link comes after 2.",
    )
    vault_interval: float = Field(
        3_600, gt=0, description="Between two snapshots of a session's profile."
    )
    vault_hours: float = Field(24, gt=0, description="How long Redis keeps a snapshot.")
    vault_keep: int = Field(
        3, ge=1, description="Snapshots of a session that are kept on the disk."
    )
    vault_max_mb: int = Field(
        128, ge=0, description="Largest profile that is saved, without its caches; 0: no snapshots."
    )

    # several of a kind
    projector_lease: float = Field(
        5,
        ge=1,
        description="How long a projector may be silent before another one takes over.",
    )

    # health
    health_interval: float = Field(15, gt=0, description="Between looks at the health of all.")
    health_timeout: float = Field(2, gt=0, description="Until a health check has failed.")

    # webhooks
    webhooks_per_user: int = Field(10, ge=1, description="Webhooks of one user.")
    webhook_allow_private: str = Field(
        "",
        description="Whom webhooks and files by URL may call beside public addresses: `true` "
        "for private and loopback ones, or networks (`10.1.0.0/16`) separated by commas.",
    )
    webhook_timeout: float = Field(10, gt=0, description="Until a webhook must have answered.")
    webhook_waiting: int = Field(
        1_000,
        ge=2,
        description="Events of a session that may wait for a webhook; "
        "the oldest of more are dead letters.",
    )
    webhook_backoff_first: float = Field(
        1, gt=0, description="Delay before a webhook is tried again."
    )
    webhook_backoff_max: float = Field(
        3_600, gt=0, description="Longest delay between two tries of a webhook."
    )
    webhook_retry_hours: float = Field(
        24, gt=0, description="Until an event that no try delivered becomes a dead letter."
    )

    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Logs.")
    log_json: bool = Field(False, description="Logs as JSON lines, for machines.")

    @field_validator("node")
    @classmethod
    def _node_is_a_token(cls, value: str) -> str:
        return token(value, "NODE")

    @field_validator("sandbox_url")
    @classmethod
    def _sandbox_is_local(cls, value: str | None) -> str | None:
        # A sandbox is trusted like WhatsApp itself, so it must not be elsewhere.
        if value is None or value == "":
            return None
        parts = urlsplit(value)
        host = parts.hostname or ""
        try:
            loopback = host == "localhost" or ip_address(host).is_loopback
        except ValueError:
            loopback = False
        if parts.scheme != "https" or not loopback or parts.port is None:
            raise ValueError("must be https://127.0.0.1:PORT, on this machine's loopback")
        return value.rstrip("/")

    @field_validator("redis_url")
    @classmethod
    def _redis_has_an_address(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            parse(value.get_secret_value())
        return value

    @field_validator("webhook_allow_private")
    @classmethod
    def _private_is_said_clearly(cls, value: str) -> str:
        allowed_networks(value)
        return value

    @field_validator(
        "nats_url",
        "redis_host",
        "redis_url",
        "redis_ca",
        "redis_sentinel_password",
        "api_key",
        "webhook_key",
        "vault_key",
        "puppeteer_executable_path",
        mode="before",
    )
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return None if value == "" else value

    @property
    def home(self) -> Path:
        """The folder of this mode: what the sandbox keeps never lies beside the real thing."""
        return self.data_dir / ("sandbox" if self.sandbox_url else "live")

    @property
    def profiles(self) -> Path:
        """Browser profiles, one folder a session."""
        return self.home / "profiles"

    @property
    def node_file(self) -> Path:
        """Where the name is kept under which a node has the profiles of this folder."""
        return self.home / "node"

    @property
    def api_key_file(self) -> Path:
        """Where the first admin key is kept when `API_KEY` is unset."""
        return self.home / "api-key"

    @property
    def webhook_key_file(self) -> Path:
        """Where the key of webhook secrets is kept when `WEBHOOK_KEY` is unset."""
        return self.home / "webhook-key"

    @property
    def vault_key_file(self) -> Path:
        """Where the keys of the vault are kept when `VAULT_KEY` is unset."""
        return self.home / "vault-key"

    @property
    def vault(self) -> Path:
        """Snapshots of profiles, one folder a session."""
        return self.home / "vault"

    @property
    def redis(self) -> Address:
        """The Redis to talk to: that of `REDIS_URL`, else that of `REDIS_HOST`, else our own."""
        secret = self.redis_password.get_secret_value() if self.redis_password else None
        if self.redis_url is None:
            return Address(Server((self.redis_host or "127.0.0.1", self.redis_port)), None, secret)
        address = parse(self.redis_url.get_secret_value())
        return replace(address, password=address.password or secret)

    @property
    def outside_redis(self) -> bool:
        """Whether Redis is somebody else's to run, and not an embedded one."""
        return self.redis_url is not None or self.redis_host is not None


def load() -> Settings:
    """Read the environment; raise BadSettings naming every variable that is off."""
    try:
        settings = Settings()  # pyright: ignore[reportCallIssue] - filled from the environment
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors()]
        raise BadSettings("; ".join(lines)) from None
    return settings if "node" in settings.model_fields_set else _as_before(settings)


def _as_before(settings: Settings) -> Settings:
    """Keep the node's name: a machine that is called otherwise now still has its profiles."""
    kept = settings.node_file
    try:
        name = kept.read_text().strip()
        return settings.model_copy(update={"node": token(name, "NODE")})
    except (FileNotFoundError, NotADirectoryError):
        return settings  # What is wrong with the folder is for whoever writes to it to say.
    except (OSError, ValueError) as error:
        raise BadSettings(f"NODE: {kept} does not hold the node's name: {error}") from None
