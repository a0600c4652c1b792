"""Credit: a relay's memory, promised before it is used.

A producer sends only what it was granted, counted in bytes since its HELLO. A relay grants from a pool per sink and
takes back when a message leaves it answered or dropped, so that what is held or promised never exceeds the pool:
memory is bounded by arithmetic, whatever the number of producers. Grants are made on request, hence thousands of idle
producers cost nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from meterfabric_protocol.message import Wish


@dataclass
class Account:
    """One session's credit for one sink, the relay's side. All in bytes since HELLO, cumulative."""

    granted: int = 0
    used: int = 0
    released: int = 0
    wish: Wish = field(default_factory=lambda: Wish(0, 0))
    closed: bool = False

    @property
    def reserved(self) -> int:
        """Bytes of the pool this account holds: promised or in flight."""
        return self.granted - self.released


class Pool:
    """The memory a relay gives to one sink, divided among sessions that ask."""

    def __init__(self, capacity: int, chunk: int) -> None:
        """``capacity``: bytes in all; ``chunk``: bytes granted at once unless the next message needs more."""
        self.capacity = capacity
        self.chunk = chunk
        self.reserved = 0
        self.accounts: dict[str, Account] = {}
        self._waiting: OrderedDict[str, None] = OrderedDict()

    def ask(self, session: str, wish: Wish) -> bool:
        """Note a session's wish. False where its next message can never fit, whoever waits."""
        account = self.accounts.setdefault(session, Account())
        if wish.next > self.capacity:
            return False
        account.wish = wish
        if not wish.next and account.used < wish.total <= account.granted:
            # The sender is idle and has sent this much: what did not come by now never will.
            lost = wish.total - account.used
            account.used += lost
            account.released += lost
            self.reserved -= lost
        if wish.total < account.granted:
            floor = max(wish.total, account.used)
            self.reserved -= account.granted - floor
            account.granted = floor
        if wish.total > account.granted:
            self._waiting.setdefault(session)
        else:
            self._waiting.pop(session, None)
        return True

    def use(self, session: str, cost: int) -> bool:
        """Charge a message. False where it was never granted: the sender breaks the protocol."""
        account = self.accounts.setdefault(session, Account())
        if account.used + cost > account.granted:
            return False
        account.used += cost
        return True

    def release(self, session: str, cost: int) -> None:
        """A message of the session left: its memory is free."""
        account = self.accounts.get(session)
        if account is not None:
            account.released += cost
            self.reserved -= cost
            if account.closed and not account.reserved:
                del self.accounts[session]

    def close(self, session: str) -> None:
        """The session ended; what it was granted and did not use is free.

        What it used stays reserved until each of its messages is released: they are still in memory.
        """
        account = self.accounts.get(session)
        self._waiting.pop(session, None)
        if account is not None:
            self.reserved -= account.granted - account.used
            account.granted, account.closed = account.used, True
            if not account.reserved:
                del self.accounts[session]

    def grants(self) -> list[tuple[str, int]]:
        """Grant what the pool allows, first come first served in chunks; (session, new total) each.

        Whoever is first in line is served before anyone behind it, even if its next message is large: no starvation.
        """
        granted: dict[str, int] = {}
        while self._waiting:
            session = next(iter(self._waiting))
            account = self.accounts[session]
            free = self.capacity - self.reserved
            missing = account.wish.total - account.granted
            least = max(min(account.wish.next - (account.granted - account.used), missing), 1)
            if free < least:
                break
            amount = min(missing, free, max(self.chunk, least))
            account.granted += amount
            self.reserved += amount
            granted[session] = account.granted
            del self._waiting[session]
            if account.granted < account.wish.total:
                self._waiting[session] = None
        return list(granted.items())
