"""Who serves a log."""

from hypothesis import given
from hypothesis import strategies as st

from meterfabric_protocol.delivery.rendezvous import best, rank

NAMES = [f"relay-{number}" for number in range(8)]


def test_everybody_ranks_alike_whatever_the_order() -> None:
    assert rank("log", NAMES) == rank("log", reversed(NAMES))


def test_a_relay_that_goes_moves_only_its_own_logs() -> None:
    logs = [f"log-{number}" for number in range(200)]
    before = {log: best(log, NAMES) for log in logs}
    after = {log: best(log, NAMES[1:]) for log in logs}
    assert all(after[log] == before[log] for log in logs if before[log] != NAMES[0])


def test_logs_spread_over_all_relays() -> None:
    served = [best(f"log-{number}", NAMES) for number in range(1_000)]
    assert min(served.count(name) for name in NAMES) > 60


def test_without_names_there_is_no_best() -> None:
    assert best("log", []) is None


@given(st.text(), st.sets(st.text(min_size=1), min_size=1))
def test_the_best_is_first_in_rank(key: str, names: set[str]) -> None:
    assert best(key, names) == rank(key, names)[0]
