"""What every session of a node shares."""

from __future__ import annotations

from dataclasses import dataclass

from actors.browser.protocol import Launcher
from actors.inbox import Wire
from actors.leases import Leases
from actors.loop import LoopThread
from actors.memory import Machine
from actors.pace import Pace
from actors.vault.vault import Vault
from events.clock import Clock
from events.log import Log
from events.media import MediaStore
from events.session_rules import Policy
from events.settings import Settings


@dataclass(frozen=True, slots=True)
class Parts:
    """The world a session lives in; tests put fakes in its place."""

    log: Log
    loop: LoopThread
    clock: Clock
    launcher: Launcher
    wire: Wire
    leases: Leases
    machine: Machine
    media: MediaStore
    vault: Vault | None
    pace: Pace
    settings: Settings
    policy: Policy
