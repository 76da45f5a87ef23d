"""Preserving a link: snapshots of the profile into the vault, and back when it is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from actors.browser.protocol import Browser
from actors.loop import LoopStopped
from actors.session_messages import BroughtBack, Preserved
from actors.session_parts import SessionParts
from actors.vault import archive
from actors.vault.damage import damage
from actors.vault.snapshot import NoKey
from actors.vault.vault import Restored, Saved, Vault, VaultAway
from events import session_events as e
from events.session import WITH_BROWSER, State
from events.session_events import SessionEvent
from events.session_rules import Failure

S = State

TIMER = "snapshot"

FIRST = 2.0
"""Seconds from ready to the first snapshot of a link: until there is one, it can be lost."""

LAST = 10.0
"""Seconds that a node which shuts down waits for a session's last snapshot."""


class Preserver:
    """One session's dealings with the vault. Used on the session's own thread only."""

    def __init__(
        self, own: SessionParts, record: Callable[[tuple[SessionEvent, ...], str | None], None]
    ) -> None:
        self._own, self._record = own, record
        self._vault: Vault | None = own.node.vault
        self._profile: Path = own.node.settings.profiles / own.identity.dotted
        # Whoever was first is served first: a snapshot is not put back after forgetting.
        self._turn = asyncio.Lock()
        self._asked = False
        self._lost = False
        self._touched = False

    # --- into the vault ---------------------------------------------------------

    def found(self, before: State) -> None:
        """Take up a session that an earlier life left in this state."""
        # Where it ended in order, its last snapshot was taken.
        self._touched = before in WITH_BROWSER | {S.BACKING_OFF, S.SUSPENDED}

    def begin(self) -> None:
        """Take up a session that is ready: its link holds, and is worth a snapshot soon."""
        self._asked = self._lost = False
        if self._vault is not None:
            pause = self._own.node.settings.vault_after
            has_one = bool(self._own.state.generation)
            self._own.timers.ring(TIMER, pause if has_one else min(FIRST, pause))

    def take(self) -> None:
        """Have the profile of the running browser saved."""
        own, browser = self._own, self._own.life.browser
        if self._vault is None or browser is None or own.state.state is not S.READY:
            return
        own.node.loop.run(
            self._save_copy(self._vault, browser),
            then=lambda saved: own.tell_me(Preserved(saved)),
            failed=lambda error: own.tell_me(Preserved(error)),
        )

    def preserved(self, outcome: Saved | Exception) -> None:
        """Record a snapshot; one that failed is tried again at the next turn."""
        own = self._own
        if own.state.state is S.READY:
            own.timers.ring(TIMER, own.node.settings.vault_interval)
        if isinstance(outcome, Exception):
            own.log.warning("session.not_preserved", error=f"{type(outcome).__name__}: {outcome}")
        elif own.state.linked:
            self._record((_saved(own, outcome),), None)

    def take_closed(self) -> None:
        """Have the profile saved once the browser that is closing has ended."""
        own, vault = self._own, self._vault
        if vault is not None and own.state.linked:
            own.life.afterwards(
                lambda: self._save(vault, self._profile),
                then=lambda saved: own.tell_me(Preserved(saved)),
                failed=lambda error: own.tell_me(Preserved(error)),
            )

    def take_last(self) -> None:
        """Save and record while the mailbox is read no more; the browser has ended. Blocks."""
        own, vault = self._own, self._vault
        if vault is None or not own.state.linked or own.state.state is S.STOPPED:
            return
        if not self._touched or not self._profile.exists():
            return  # No browser was on it since the last one.
        try:
            saved = own.node.loop.wait(self._save(vault, self._profile), LAST)
        except (VaultAway, NoKey, archive.TooLarge, OSError, LoopStopped) as error:
            own.log.warning("session.not_preserved", error=f"{type(error).__name__}: {error}")
        else:
            own.recorder.session(_saved(own, saved), None)

    # --- out of the vault -------------------------------------------------------

    def set_aside(self) -> None:
        """Mistrust what this node kept of a session that another node had since.

        Before the claim: whoever begins anew after a crash must not take it for the profile.
        """
        if self._profile.exists():
            archive.remove(self._beside("stale"))
            self._profile.rename(self._beside("stale"))

    def before_launch(self) -> Callable[[], Coroutine[Any, Any, None]]:
        """Return what a launch waits for: a lost profile of a linked session comes back.

        Raises NoKey, VaultAway and OSError: to start without would end the link.
        """
        own, vault = self._own, self._vault
        linked, newest, lost = own.state.linked, own.state.generation, self._lost
        self._lost, self._touched = False, True

        async def bring_back() -> None:
            if not linked:
                return
            why = "no_credentials" if lost else await asyncio.to_thread(damage, self._profile)
            if why is None:
                return
            restored = None
            if vault is not None:
                restored = await vault.restore(own.identity, self._profile, newest)
            if restored is not None:
                await asyncio.to_thread(archive.remove, self._beside("stale"))
            restored = restored or await asyncio.to_thread(self._take_stale)
            own.log.warning("session.profile_lost", why=why, restored=restored is not None)
            if restored is not None:
                own.tell_me(BroughtBack(restored))

        return bring_back

    def brought_back(self, restored: Restored) -> None:
        """Record that the profile came back."""
        event = e.ProfileRestored(
            generation=restored.generation, source=restored.source, older=restored.older
        )
        self._record((event,), None)

    def doubt(self) -> Failure | None:
        """Say whether a page that shows a code is no proof yet that the link is gone.

        Chromium drops a database that it cannot read without a word, and the page
        then begins anew. Once for each time the session was ready, and only if
        there is a snapshot on record, it is started again from the vault.
        """
        state = self._own.state
        linked = state.linked and state.state is S.STARTING
        if self._vault is None or not linked or self._asked or not state.generation:
            return None
        self._asked = self._lost = True
        return Failure("link_lost", "the page holds no credentials; the vault is asked for them")

    def forget(self) -> None:
        """Drop what can be restored: the link is gone. After the browser has ended."""
        own, vault = self._own, self._vault
        if vault is not None:
            own.life.afterwards(
                lambda: self._drop(vault),
                then=lambda _: None,
                failed=lambda error: own.log.error("vault.not_forgotten", error=str(error)),
            )

    def _take_stale(self) -> Restored | None:
        """Go on with an old copy of this node: it may have to be scanned, without it it has to."""
        stale = self._beside("stale")
        if not stale.exists() or self._profile.exists():
            return None
        stale.rename(self._profile)
        return Restored(0, "local", older=True)

    # --- on the loop thread -----------------------------------------------------

    async def _save_copy(self, vault: Vault, browser: Browser) -> Saved:
        copied = self._beside("copy")
        async with self._turn:
            try:
                await asyncio.to_thread(archive.remove, copied)
                await browser.copy_profile(copied)
                return await self._seal(vault, copied)
            finally:
                await asyncio.to_thread(archive.remove, copied)

    async def _save(self, vault: Vault, profile: Path) -> Saved:
        async with self._turn:
            return await self._seal(vault, profile)

    async def _seal(self, vault: Vault, profile: Path) -> Saved:
        own = self._own
        return await vault.save(own.identity, profile, own.state.generation, own.node.clock.now())

    async def _drop(self, vault: Vault) -> None:
        async with self._turn:
            for word in ("copy", "damaged", "stale"):
                await asyncio.to_thread(archive.remove, self._beside(word))
            await vault.forget(self._own.identity)

    def _beside(self, word: str) -> Path:
        return self._profile.with_name(f".{self._profile.name}.{word}")


def _saved(own: SessionParts, saved: Saved) -> e.ProfileSaved:
    return e.ProfileSaved(generation=saved.generation, bytes=saved.size, totals=own.recorder.totals)
