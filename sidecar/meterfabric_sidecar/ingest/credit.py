"""How many bytes each ZeroMQ client may send: cumulative credit, bounded per client and in total. No I/O.

What a client may still send and what of it is not yet answered together are its *claim* on memory. The claims never
sum to more than `total`: each client that may come is set a `floor` aside, and the rest is lent, to each at most half
of what is free, so that those who come later find some too.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class CreditBounds:
    """Limits of ZeroMQ ingest, in bytes and clients. `floor` must hold the largest record with its newline."""

    total: int = 16 * 1024 * 1024
    window: int = 4 * 1024 * 1024
    floor: int = 264 * 1024
    clients: int = 32

    def __post_init__(self) -> None:
        if not 0 < self.floor <= self.window:
            raise ValueError(f"floor must be within 1 and window {self.window}, not {self.floor}")
        if self.clients * self.floor > self.total:
            raise ValueError(f"{self.clients} clients of floor {self.floor} don't fit in total {self.total}")


@dataclass(eq=False)
class Client:
    """One client's account. Cumulative bytes since its HELLO, but `in_service`, which outlives a new HELLO."""

    granted: int = 0
    received: int = 0
    in_service: int = 0
    window: int = 0  # what its claim was last allowed to be
    left: bool = False

    @property
    def allowance(self) -> int:
        """Bytes that it may still send."""
        return self.granted - self.received

    @property
    def claim(self) -> int:
        return self.allowance + self.in_service


class Ledger:
    """All clients' accounts. While `withheld`, nobody is granted anything."""

    def __init__(self, bounds: CreditBounds) -> None:
        self._bounds = bounds
        self._clients: set[Client] = set()
        self._orphaned = 0  # in service of clients that left
        self.withheld = False

    def __len__(self) -> int:
        return len(self._clients)

    @property
    def claims(self) -> int:
        """Bytes that clients may have in memory here, at most the bounds' total."""
        return self._orphaned + sum(client.claim for client in self._clients)

    @property
    def in_service(self) -> int:
        """Bytes received and not yet answered."""
        return self._orphaned + sum(client.in_service for client in self._clients)

    def join(self) -> Client | None:
        """A new client's account, None when there is no place for it."""
        if len(self._clients) >= self._bounds.clients or self._free() < 0:
            return None
        client = Client()
        self._clients.add(client)
        return client

    def restart(self, client: Client) -> None:
        """The client said HELLO again: both sides count from zero."""
        client.granted = client.received = 0

    def leave(self, client: Client) -> None:
        if not client.left:
            client.left = True
            self._clients.discard(client)
            self._orphaned += client.in_service

    def receive(self, client: Client, size: int) -> bool:
        """Enter a message of `size` bytes; False, and nothing entered, when it is beyond the credit."""
        if size > client.allowance:
            return False
        client.received += size
        client.in_service += size
        return True

    def settle(self, client: Client, size: int) -> None:
        """A message of `size` bytes was answered and is gone from memory."""
        client.in_service -= size
        if client.left:
            self._orphaned -= size

    def grant(self, client: Client, *, small: bool = False) -> bool:
        """Raise the client's credit where a quarter of its window has come free; True when it was raised.

        `small`: however little it is. Without that, now and then, a client would wait for ever that needs nearly its
        whole window for one message.
        """
        if self.withheld or client.left:
            return False
        worth = 1 if small else client.window // 4
        if client.window and client.window - client.claim < worth:
            return False
        floor = self._bounds.floor
        client.window = max(floor, min(self._bounds.window, (self._free() + max(client.claim, floor)) // 2))
        new = client.window - client.claim
        if new < worth or new <= 0:
            return False
        client.granted += new
        return True

    def _free(self) -> int:
        """What is neither claimed nor set aside as somebody's floor; below zero while orphaned bytes hold a floor."""
        floor = self._bounds.floor
        claimed = sum(max(client.claim, floor) for client in self._clients)
        absent = self._bounds.clients - len(self._clients)
        return self._bounds.total - self._orphaned - claimed - absent * floor
