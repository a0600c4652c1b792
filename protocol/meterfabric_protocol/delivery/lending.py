"""A relay's producers and the memory that is lent to them: a pool for each sink, of which credit is promised before it
is used (`credit.Pool`)."""

from __future__ import annotations

from collections.abc import Iterator

from meterfabric_protocol import message as m
from meterfabric_protocol.delivery.credit import Pool
from meterfabric_protocol.delivery.relayed import Item, Producer, Send
from meterfabric_protocol.delivery.settings import RelaySettings


class Lender:
    """The producers whose sessions stand, and what each was promised."""

    def __init__(self, settings: RelaySettings) -> None:
        self.producers: dict[str, Producer] = {}
        self.pools: dict[str, Pool] = {}
        self.capacity = settings.memory // settings.sinks
        """Bytes of each pool."""
        self._settings = settings
        self._by_session: dict[str, Producer] = {}
        self._sessions = 0

    def open(self, sink: str) -> bool:
        """Lend memory for this sink too; False where others have it all."""
        if sink not in self.pools and len(self.pools) >= self._settings.sinks:
            return False
        self.pools.setdefault(sink, Pool(self.capacity, self._settings.chunk))
        return True

    def admit(self, user: str, nonce: bytes) -> None:
        """A producer's session begins."""
        self._sessions += 1
        producer = Producer(f"{user}/{self._sessions}", user, nonce)
        self.producers[user] = self._by_session[producer.session] = producer

    def remove(self, user: str) -> Producer | None:
        """A producer's session ends: no answer goes there any more. Its credit stands until `close`."""
        producer = self.producers.pop(user, None)
        if producer is not None:
            del self._by_session[producer.session]
        return producer

    def close(self, producer: Producer) -> None:
        """What a session that ended was promised and did not use is free; the rest as it is released."""
        for pool in self.pools.values():
            pool.close(producer.session)

    def stands(self, item: Item) -> bool:
        """Whether the session that a message came from still stands."""
        return self.producers.get(item.sender.user) is item.sender

    def use(self, producer: Producer, sink: str, cost: int, now: float) -> bool:
        """Charge a message; False where it was never granted."""
        pool = self.pools.get(sink)
        if pool is None or not pool.use(producer.session, cost):
            return False
        producer.granted_at[sink] = now
        return True

    def release(self, item: Item) -> None:
        """A message left: its memory is free."""
        if not item.head:
            self.pools[item.sink].release(item.sender.session, item.cost)

    def ask(self, producer: Producer, sink: str, wish: m.Wish) -> list[Send] | None:
        """Note a wish; None where its next message can never fit."""
        pool = self.pools.get(sink)
        if pool is None:
            return []
        if not pool.ask(producer.session, wish):
            return None
        granted = pool.accounts[producer.session].granted
        # Said again: the grant may have been lost, and what was given back is confirmed.
        return [Send(producer.user, m.Grant(sink, granted))] if granted >= wish.total else []

    def grants(self, now: float) -> list[Send]:
        """Grant what the pools allow."""
        effects: list[Send] = []
        for sink, pool in self.pools.items():
            for session, total in pool.grants():
                producer = self._by_session[session]
                producer.granted_at[sink] = now
                effects.append(Send(producer.user, m.Grant(sink, total)))
        return effects

    def idle(self, now: float) -> Iterator[tuple[str, str]]:
        """Who sits on credit that others wait for: (user, sink) each, judged by what is reserved when it is asked for,
        since the end of the one before may have freed enough."""
        for sink, pool in self.pools.items():
            for session, account in list(pool.accounts.items()):
                producer = self._by_session.get(session)
                if producer is None or account.granted == account.used:
                    continue
                unused = now - producer.granted_at.get(sink, now)
                if unused > self._settings.idle_grant and pool.reserved * 2 > pool.capacity:
                    yield producer.user, sink
