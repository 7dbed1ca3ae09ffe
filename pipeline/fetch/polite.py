"""Politeness: how often, and how many at a time, one host is asked."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import Field

from pipeline.settings import Settings

_TICK = 0.01
"""Seconds; a timer may fire a little early."""


class PoliteConfig(Settings):
    """What a host has to bear, from all of a run's tasks together."""

    at_once: int = Field(default=4, gt=0)
    """Requests to one host at the same time."""

    delay: float = Field(default=0.0, ge=0)
    """Seconds from the start of one request to a host to the start of the next."""


class Turns(Protocol):
    """Lets requests through. In one process it is `Hosts`; on Ray, an actor that holds one."""

    async def enter(self, host: str) -> int:
        """Returns when the host may be asked, with a ticket to be handed back."""

    async def leave(self, host: str, ticket: int, pause: float = 0.0) -> None:
        """Ends a turn; the host then gets no request for `pause` seconds."""


@dataclass
class _Host:
    room: asyncio.Semaphore
    users: int = 0
    free_at: float = 0.0


@dataclass
class Hosts:
    """Grants turns. A turn that was not handed back ends by itself: its task may have died."""

    config: PoliteConfig
    lease: float
    """Seconds after which a turn ends by itself."""
    hosts: dict[str, _Host] = field(default_factory=dict)
    turns: dict[int, asyncio.TimerHandle] = field(default_factory=dict)
    granted: int = field(default_factory=time.monotonic_ns)
    """The last ticket; a restarted actor must not take an old one for its own."""

    async def enter(self, host: str) -> int:
        """See `Turns`."""
        state = self.hosts.setdefault(host, _Host(asyncio.Semaphore(self.config.at_once)))
        state.users += 1
        await state.room.acquire()
        loop = asyncio.get_running_loop()
        while (wait := state.free_at - loop.time()) > 0:
            await asyncio.sleep(wait)
        state.free_at = loop.time() + self.config.delay
        self.granted += 1
        timer = loop.call_later(self.lease, self._end, host, self.granted)
        self.turns[self.granted] = timer
        return self.granted

    async def leave(self, host: str, ticket: int, pause: float = 0.0) -> None:
        """See `Turns`. A turn that has ended already is nothing to complain of."""
        self._end(host, ticket, pause)

    def _end(self, host: str, ticket: int, pause: float = 0.0) -> None:
        if ticket not in self.turns:
            return
        self.turns.pop(ticket).cancel()
        state, loop = self.hosts[host], asyncio.get_running_loop()
        state.free_at = max(state.free_at, loop.time() + pause)
        state.users -= 1
        state.room.release()
        loop.call_at(state.free_at + _TICK, self._forget, host)

    def _forget(self, host: str) -> None:
        """Hosts nobody asks any more leave no trace: a list may name millions."""
        state = self.hosts.get(host)
        if state and not state.users and state.free_at <= asyncio.get_running_loop().time():
            del self.hosts[host]
