"""How the other side answers our messages: taken, delivered, read, as the knobs say."""

import asyncio
from collections.abc import Callable

from tests.simulator.knobs import KnobBoard
from tests.simulator.ledger import Ledger, Message

READ = 3

Tell = Callable[[Message, int], None]


class Receipts:
    """Raises the ack of our messages over time, and tells the account's devices."""

    def __init__(self, ledger: Ledger, knobs: KnobBoard, tell: Tell) -> None:
        self._ledger = ledger
        self._knobs = knobs
        self._tell = tell
        self._running: dict[int, asyncio.Task[None]] = {}

    def begin(self, message: Message) -> None:
        """Let a message go through its receipts, unless it already does."""
        if message.seq not in self._running:
            task = asyncio.create_task(self._run(message))
            self._running[message.seq] = task
            task.add_done_callback(lambda _: self._running.pop(message.seq, None))

    def resume(self) -> None:
        """After a restart, or when acks are no longer withheld: go on where it stopped."""
        for message in self._ledger.unsettled(READ):
            self.begin(message)

    def give(self, message: Message, ack: int) -> None:
        """Give one receipt now."""
        self._ledger.raise_ack(message.number, [message.id], ack, from_me=True)
        self._tell(message, ack)

    def close(self) -> None:
        """Stop all."""
        for task in self._running.values():
            task.cancel()

    async def _run(self, message: Message) -> None:
        knobs = self._knobs.of(number=message.number, device=message.device)
        steps = list(enumerate(knobs.ack_ms[:READ], start=1))
        if knobs.ack_reorder:
            steps = [(READ + 1 - ack, delay) for ack, delay in steps]
        for ack, delay in steps:
            if ack <= message.ack:
                continue  # given before, in an earlier life
            await asyncio.sleep(delay / 1000)
            up_to = self._knobs.of(number=message.number, device=message.device).ack_up_to
            if ack <= up_to:
                self.give(message, ack)
