import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from meterfabric_sidecar.ingest.credit import Client, CreditBounds, Ledger

BOUNDS = CreditBounds(total=1000, window=400, floor=50, clients=8)


def joined(ledger: Ledger) -> Client:
    client = ledger.join()
    assert client is not None
    assert ledger.grant(client)
    return client


def test_a_lone_client_gets_its_whole_window_and_later_ones_find_some_too() -> None:
    ledger = Ledger(BOUNDS)
    windows = [joined(ledger).granted for _ in range(8)]
    assert windows[0] > windows[1] > windows[2]
    assert min(windows) >= 50
    assert ledger.claims <= 1000


def test_there_is_no_account_beyond_the_clients_that_fit() -> None:
    ledger = Ledger(BOUNDS)
    clients = [joined(ledger) for _ in range(8)]
    assert ledger.join() is None
    ledger.leave(clients[0])
    assert ledger.join() is not None


def test_bytes_beyond_the_credit_are_not_entered() -> None:
    ledger = Ledger(BOUNDS)
    client = joined(ledger)
    assert not ledger.receive(client, client.granted + 1)
    assert ledger.receive(client, client.granted)
    assert not ledger.receive(client, 1)


def test_credit_comes_back_with_the_answer() -> None:
    ledger = Ledger(BOUNDS)
    client = joined(ledger)
    first = client.granted
    assert ledger.receive(client, first)
    assert not ledger.grant(client)
    ledger.settle(client, first)
    assert ledger.grant(client)
    assert client.granted == 2 * first


def test_a_client_that_waits_for_no_answer_can_always_send_its_window() -> None:
    ledger = Ledger(BOUNDS)
    client = joined(ledger)
    assert ledger.receive(client, 1)
    ledger.settle(client, 1)
    assert not ledger.grant(client)
    assert ledger.grant(client, small=True)
    assert client.allowance == client.window


def test_nothing_is_granted_while_withheld() -> None:
    ledger = Ledger(BOUNDS)
    client = ledger.join()
    assert client is not None
    ledger.withheld = True
    assert not ledger.grant(client)
    ledger.withheld = False
    assert ledger.grant(client)


def test_a_new_hello_counts_from_zero_but_keeps_what_is_in_service() -> None:
    ledger = Ledger(BOUNDS)
    client = joined(ledger)
    assert ledger.receive(client, 40)
    ledger.restart(client)
    ledger.grant(client)
    assert client.granted + 40 <= 400
    assert ledger.in_service == 40
    assert client.granted
    ledger.settle(client, 40)
    assert ledger.in_service == 0


@pytest.mark.parametrize("bounds", [{"floor": 0}, {"floor": 500, "window": 400}, {"clients": 100}])
def test_bounds_that_do_not_fit_together_are_refused(bounds: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"must be within|don't fit"):
        CreditBounds(**{"total": 1000, "window": 400, "floor": 50, "clients": 8} | bounds)


class AnyTraffic(RuleBasedStateMachine):
    """Whatever clients do, the claims stay within the total, and whoever is idle can send a floor's worth."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(BOUNDS)
        self.clients: list[Client] = []
        self.flying: list[tuple[Client, int]] = []

    @rule()
    def join(self) -> None:
        client = self.ledger.join()
        if client is not None:
            self.clients.append(client)
            self.ledger.grant(client)

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), share=st.integers(1, 4))
    def send(self, data: st.DataObject, share: int) -> None:
        client = data.draw(st.sampled_from(self.clients))
        size = client.allowance // share
        if size:
            assert self.ledger.receive(client, size)
            self.flying.append((client, size))

    @precondition(lambda self: self.flying)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from(self.flying))
        self.flying.remove(entry)
        self.ledger.settle(*entry)
        self.ledger.grant(entry[0])

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), goes=st.booleans())
    def leave_or_start_again(self, data: st.DataObject, goes: bool) -> None:
        client = data.draw(st.sampled_from(self.clients))
        if goes:
            self.clients.remove(client)
            self.ledger.leave(client)
        else:
            self.ledger.restart(client)
            self.ledger.grant(client)

    @invariant()
    def memory_is_bounded(self) -> None:
        assert self.ledger.in_service == sum(size for _, size in self.flying)
        assert self.ledger.in_service <= self.ledger.claims <= BOUNDS.total

    @invariant()
    def nobody_starves(self) -> None:
        for client in self.clients:
            self.ledger.grant(client, small=True)
            assert client.claim >= BOUNDS.floor


TestAnyTraffic = AnyTraffic.TestCase
TestAnyTraffic.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


@given(st.integers(1, 8))
def test_every_client_may_hold_a_floor_at_once(count: int) -> None:
    ledger = Ledger(BOUNDS)
    clients = [joined(ledger) for _ in range(count)]
    assert all(ledger.receive(client, BOUNDS.floor) for client in clients)
