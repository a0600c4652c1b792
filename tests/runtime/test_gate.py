import pytest

from meterfabric_runtime.gate import Gate, GateBounds, Verdict

KEY = bytes(range(32))


def request(
    key: bytes = KEY, *, address: str = "10.0.0.1", mechanism: bytes = b"CURVE", domain: bytes = b"meterfabric"
) -> list[bytes]:
    return [b"1.0", b"7", domain, address.encode(), b"", mechanism, key]


class Door:
    """A gate whose connections do their handshake as soon as they come."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.next = 0

    def knock(self, now: float = 0.0, address: str = "10.0.0.1") -> Verdict:
        self.next += 1
        assert self.gate.opened(self.next, now)
        verdict = self.gate.judge(request(address=address), now)
        if verdict.status != 200:
            self.gate.closed(self.next)
        return verdict


def test_a_curve_client_is_let_in_under_its_keys_name() -> None:
    verdict = Door(Gate(GateBounds())).knock()
    assert verdict == Verdict(200, "OK", KEY.hex())
    assert verdict.reply(b"7") == [b"1.0", b"7", b"200", b"OK", KEY.hex().encode(), b""]


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (request(mechanism=b"NULL")[:6], "mechanism"),
        (request(mechanism=b"PLAIN"), "mechanism"),
        (request(domain=b"other"), "domain"),
        (request(b"short"), "malformed"),
        (request()[:6], "malformed"),
        ([*request(), b"more"], "malformed"),
        ([b"2.0", *request()[1:]], "malformed"),
        ([], "malformed"),
    ],
)
def test_anything_else_is_refused_and_counted(asked: list[bytes], reason: str) -> None:
    gate = Gate(GateBounds())
    assert gate.judge(asked, 0.0).status == 400
    assert gate.refused == {reason: 1}
    assert gate.admitted == 0


def test_a_list_lets_in_only_who_is_on_it() -> None:
    gate = Gate(GateBounds(), allowed={KEY})
    assert gate.judge(request(), 0.0).status == 200
    assert gate.judge(request(b"x" * 32), 0.0).status == 400
    assert gate.refused == {"not-allowed": 1}


@pytest.mark.parametrize("peer", [KEY.hex(), "10.0.0.1"])
def test_a_ban_of_a_key_or_an_address_ends(peer: str) -> None:
    gate = Gate(GateBounds())
    gate.ban(peer, 5.0, now=10.0)
    assert gate.judge(request(), 14.9).status == 400
    assert gate.judge(request(b"x" * 32, address="10.0.0.2"), 14.9).status == 200
    assert gate.judge(request(), 15.0).status == 200
    assert gate.refused == {"banned": 1}


def test_bans_and_addresses_are_remembered_up_to_a_number() -> None:
    gate = Gate(GateBounds(remembered=2, burst=1, rate=0))
    for peer in ("a", "b", "c"):
        gate.ban(peer, 5.0, now=0.0)
    assert [gate.judge(request(address=peer), 1.0).status for peer in ("a", "b", "c")] == [200, 400, 400]
    for address in ("d", "e"):
        assert gate.judge(request(address=address), 1.0).status == 200
        assert gate.judge(request(address=address), 1.0).status == 500
    assert gate.judge(request(address="a"), 1.0).status == 200


def test_the_connection_beyond_the_cap_is_told_to_go_elsewhere() -> None:
    gate = Gate(GateBounds(connections=2))
    door = Door(gate)
    assert [door.knock().status for _ in range(4)] == [200, 200, 500, 500]
    assert gate.refused == {"capacity": 2}
    assert (gate.open, gate.standing(0.0)) == (2, 2)


def test_a_connection_that_goes_makes_room_at_once_and_later() -> None:
    gate = Gate(GateBounds(connections=2, handshake_seconds=10))
    door = Door(gate)
    for now in (0.0, 100.0):
        assert [door.knock(now).status for _ in range(3)] == [200, 200, 500]
        gate.closed(door.next - 1)
        assert [door.knock(now + 0.1).status for _ in range(2)] == [200, 500]
        gate.closed(door.next - 1)
        gate.closed(door.next - 4)


def test_connections_that_show_no_key_take_nobodys_place() -> None:
    gate = Gate(GateBounds(connections=2, waiting=100))
    for silent in range(1000, 1099):
        assert gate.opened(silent, 0.0)
    door = Door(gate)
    assert [door.knock(1.0).status for _ in range(3)] == [200, 200, 500]


def test_standing_connections_stay_counted_however_old() -> None:
    gate = Gate(GateBounds(connections=2, handshake_seconds=10))
    door = Door(gate)
    assert [door.knock(0.0).status for _ in range(2)] == [200, 200]
    assert door.knock(1e6).status == 500


def test_silent_connections_beyond_their_number_are_hung_up_on() -> None:
    gate = Gate(GateBounds(connections=2, waiting=3))
    assert [gate.opened(connection, 0.0) for connection in range(6)] == [True] * 5 + [False]
    assert gate.refused == {"flood": 1}
    gate.closed(5)
    gate.closed(0)
    assert gate.opened(5, 0.0)


def test_a_descriptor_used_again_is_one_connection() -> None:
    gate = Gate(GateBounds(handshake_seconds=10))
    gate.opened(7, 0.0)
    assert gate.standing(20.0) == 1
    gate.opened(7, 20.0)
    assert gate.open == 1


def test_handshakes_of_one_address_are_limited_and_others_are_not() -> None:
    gate = Gate(GateBounds(rate=2.0, burst=3.0))
    door = Door(gate)
    assert [door.knock(0.0).status for _ in range(4)] == [200, 200, 200, 500]
    assert door.knock(0.0, "10.0.0.2").status == 200
    assert [door.knock(1.0).status for _ in range(3)] == [200, 200, 500]
    assert gate.refused == {"rate": 2}


def test_bounds_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="connections must be at least 1, not 0"):
        GateBounds(connections=0)
