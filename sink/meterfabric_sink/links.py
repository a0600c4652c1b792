"""The worker's sessions with all relays: messages become what is judged, answers go back the way they came."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import time
from collections.abc import Callable, Mapping

import zmq

from meterfabric_protocol import message as m
from meterfabric_protocol.delivery.verdict import Incoming
from meterfabric_protocol.hello import VERSION, HelloBody, sign_hello
from meterfabric_protocol.identity import cosigner
from meterfabric_runtime.curve import from_z85
from meterfabric_runtime.relay_link import HelloFrames, RelayLink
from meterfabric_runtime.zmq_options import Bounds
from meterfabric_sink.own_chain import OwnChain
from meterfabric_sink.settings import Settings

log = logging.getLogger(__name__)


class Links:
    """The worker's sessions with all relays; every relay may route any log here."""

    def __init__(self, settings: Settings, own: OwnChain) -> None:
        """`take` is set before the first `set`: it is given what arrives."""
        self._settings = settings
        self._own = own
        self._server_key = from_z85(settings.relay_key)
        self.take: Callable[[Incoming], None] = lambda item: None
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._jitter = random.SystemRandom()
        self.links: dict[str, RelayLink] = {}
        self._unlisted: set[str] = set()
        self._asked: set[str] = set()

    def set(self, relays: Mapping[str, str]) -> None:
        """Hold a session with each of these, and no other."""
        for name, link in list(self.links.items()):
            if relays.get(name) == link.endpoint:
                self._unlisted.discard(name)
            elif name not in relays and link.welcomed:
                # It may be about to stop, with batches of ours in hand and answers to take: it ends the session.
                self._unlisted.add(name)
            else:
                self._drop(name)
        for name in relays.keys() - self.links.keys():
            self.links[name] = RelayLink(
                self._context,
                name,
                relays[name],
                self._server_key,
                self._hello,
                on_hello=lambda _name, _nonce: None,
                on_message=self._message,
                on_lost=self._lost,
                bounds=Bounds(
                    message=self._settings.max_message, queued=100_000, heartbeat=2_000, heartbeat_timeout=6_000
                ),
                jitter=self._jitter,
            )

    def _lost(self, name: str) -> None:
        self._asked.discard(name)
        if name in self._unlisted:
            # Later: this is the link's own word.
            asyncio.get_running_loop().call_soon(self._drop, name)

    def _drop(self, name: str) -> None:
        self._unlisted.discard(name)
        link = self.links.pop(name, None)
        if link is not None:
            link.close()

    def reply(self, item: Incoming, body: bytes, signature: bytes) -> None:
        """Send an answer back the way its message came. Raises KeyError where that relay is gone."""
        name, seq = item.ticket
        self.links[name].send(m.Reply(seq), (body, signature))

    def drain(self) -> None:
        """Tell relays to give what comes next to others."""
        for name, link in self.links.items():
            if link.welcomed and link.send(m.Draining()):
                self._asked.add(name)

    @property
    def drained(self) -> bool:
        """Whether every relay that was told so has said it back, behind the last that it gave us, or is gone."""
        return not self._asked

    def close(self) -> None:
        """End all sessions."""
        for link in self.links.values():
            link.close()
        self._context.term()

    def _hello(self, client_curve: bytes) -> HelloFrames:
        settings = self._settings
        nonce = secrets.token_bytes(16)
        body = HelloBody(
            VERSION,
            "sink",
            cosigner(settings.fabric, settings.name),
            client_curve,
            self._server_key,
            nonce,
            settings.worker,
            settings.window,
            int(time.time()),
        )
        return HelloFrames(nonce, (*sign_hello(body, self._own.key), self._own.current.chain))

    def _message(self, relay: str, message: m.Message, frames: list[zmq.Frame]) -> None:
        if isinstance(message, m.Deliver | m.Listen):
            head = isinstance(message, m.Listen)
            self.take(
                Incoming(
                    (relay, message.seq),
                    message.origin,
                    message.nonce,
                    message.epoch,
                    chain=frames[0].bytes,
                    header=frames[1].bytes,
                    payload=frames[2].buffer if len(frames) > 2 and not head else None,
                    head=head,
                    probe=isinstance(message, m.Listen) and message.probe,
                )
            )
        elif isinstance(message, m.Draining):
            self._asked.discard(relay)
        elif isinstance(message, m.Refused):
            self._asked.discard(relay)
            log.warning("a relay refused", extra={"relay": relay, "reason": message.reason, "detail": message.detail})
