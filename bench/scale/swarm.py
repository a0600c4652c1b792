"""Producers that are connected and send nothing: `python -m bench.scale.swarm`, until standard input ends.

Each looks for relays as a sidecar does by a name in DNS, every few seconds with jitter, and holds a session with the
best of them. One line of JSON tells whenever the number of sessions that stand has changed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
from collections.abc import Mapping

import zmq

from bench.scale.ground import Peer, read_peers
from bench.scale.peers import Sessions, parent_gone, run, tell
from meterfabric_protocol import message as m
from meterfabric_protocol.delivery.rendezvous import best
from meterfabric_runtime.discovery import RelayFile
from meterfabric_runtime.relay_link import RelayLink

_TELL_EVERY = 0.05
_LOOK_EVERY = 5.0
"""Seconds, between three and five quarters of it: `discovery.RelayName`'s pause while relays are known."""


class Swarm:
    """The producers, and how many of them are welcome."""

    def __init__(self, sessions: Sessions) -> None:
        self.sessions = sessions
        self.relays: dict[str, str] = {}
        self.up = 0
        self.changed = True

    def set_relays(self, relays: Mapping[str, str]) -> None:
        """The list as it is now; each producer sees it when it looks."""
        self.relays = dict(relays)

    def count(self, change: int) -> None:
        """One session more or less."""
        self.up += change
        self.changed = True


class Member:
    """One producer."""

    def __init__(self, swarm: Swarm, peer: Peer) -> None:
        self._swarm = swarm
        self._peer = peer
        self._link: RelayLink | None = None
        self._welcome = False
        self.look()

    def look(self) -> None:
        """Which relays there are, now and every few seconds."""
        relays, link = self._swarm.relays, self._link
        name = best(self._peer.name, relays)
        if name is not None and (link is None or (link.name, link.endpoint) != (name, relays[name])):
            if link is not None:
                link.close()
                self._stands(False)
            self._link = self._swarm.sessions.dial(
                self._peer, "producer", name, relays[name], self._message, lambda _: self._stands(False)
            )
        pause = _LOOK_EVERY * (0.75 + random.random() / 2)
        asyncio.get_running_loop().call_later(pause, self.look)

    def _message(self, _relay: str, message: m.Message, _frames: list[zmq.Frame]) -> None:
        if isinstance(message, m.Welcome):
            self._stands(True)
        elif isinstance(message, m.Refused):
            self._stands(False)

    def _stands(self, welcome: bool) -> None:
        if welcome != self._welcome:
            self._welcome = welcome
            self._swarm.count(1 if welcome else -1)


async def work(options: argparse.Namespace) -> None:
    """Be so many producers."""
    swarm = Swarm(Sessions(options.key, options.count))
    file = RelayFile(options.relays, swarm.set_relays)
    file.look()
    following = asyncio.create_task(file.run())
    over = asyncio.create_task(parent_gone())
    members = []
    for peer in read_peers(options.peers)[options.first : options.first + options.count]:
        members.append(Member(swarm, peer))
        await asyncio.sleep(0)
    while not over.done():
        if swarm.changed:
            swarm.changed = False
            tell(up=swarm.up)
        await asyncio.wait({over}, timeout=_TELL_EVERY)
    following.cancel()
    os._exit(0)


if __name__ == "__main__":
    run(work, __doc__ or "")
