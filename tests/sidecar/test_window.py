"""The window of repeats: bounded in records and in time, exact where it says that something is known."""

from hypothesis import given
from hypothesis import strategies as st

from meterfabric_sidecar.spool.rows import RecentRow
from meterfabric_sidecar.window import Window


class Rows:
    """A stand-in for the table `recent`."""

    def __init__(self) -> None:
        self.rows: dict[int, RecentRow] = {}
        self.loads = 0

    def __call__(self, seq: int) -> RecentRow | None:
        self.loads += 1
        return self.rows.get(seq)

    def add(self, window: Window, seq: int, keys: list[str], at: float = 0.0) -> None:
        self.rows[seq] = RecentRow(seq, at, keys, b"".join(leaf(key) for key in keys), 40 * len(keys))
        window.add(seq, at, keys)
        window.stored(40 * len(keys))


def leaf(key: str) -> bytes:
    return key.encode().ljust(32, b"_")


def find(window: Window, key: str) -> bytes | None:
    return next((found for seq in window.places(key) if (found := window.find(seq, key)) is not None), None)


def test_a_key_is_found_with_its_leaf_hash() -> None:
    rows = Rows()
    window = Window(100, 60, 1 << 40, rows)
    rows.add(window, 1, ["a", "b"])
    rows.add(window, 2, ["c"])
    assert not window.knows_none(["b"])
    assert window.knows_none(["d"])
    assert [find(window, key) for key in "abcd"] == [leaf("a"), leaf("b"), leaf("c"), None]
    assert len(window) == 3


def test_a_batch_that_came_to_nothing_makes_nobody_known_and_hides_nobody() -> None:
    rows = Rows()
    window = Window(100, 60, 1 << 40, rows)
    rows.add(window, 1, ["a"])
    assert not window.add(2, 0.0, ["a", "z"])
    assert not window.knows_none(["z"])
    assert find(window, "z") is None
    assert find(window, "a") == leaf("a")


def test_a_key_twice_in_a_batch_is_told() -> None:
    window = Window(100, 60, 1 << 40, Rows())
    assert window.add(1, 0.0, ["a", "b", "c"])
    assert not window.add(2, 0.0, ["d", "e", "d"])


def test_a_generation_takes_a_batch_as_large_as_there_is_when_it_is_nearly_full() -> None:
    window = Window(200, 60, 1 << 40, Rows(), batch_records=1000)
    for seq, keys in enumerate(([str(n) for n in range(99)], [str(n) for n in range(99, 1099)]), 1):
        assert window.knows_none(keys)
        assert window.add(seq, 0.0, keys)
    assert not window.knows_none(["1098"])
    assert window.knows_none([str(n) for n in range(1099, 9999)])


def test_it_holds_at_least_half_and_at_most_all_of_its_records() -> None:
    rows = Rows()
    window = Window(100, 1e9, 1 << 40, rows)
    for seq in range(1, 200):
        rows.add(window, seq, [f"{seq}-{n}" for n in range(10)])
        assert len(window) <= 110
        newest = [f"{s}-{n}" for s in range(max(1, seq - 4), seq + 1) for n in range(10)]
        assert all(find(window, key) for key in newest)
    assert find(window, "1-1") is None
    assert window.first_seq > 185


def test_it_forgets_by_time_though_nothing_new_comes() -> None:
    rows = Rows()
    window = Window(100, 60, 1 << 40, rows)
    rows.add(window, 1, ["a"], at=0)
    window.age(59)
    assert find(window, "a")
    window.age(61)
    assert find(window, "a")
    window.age(122)
    assert find(window, "a") is None
    assert window.first_seq == 2


def test_a_repeated_batch_is_read_once() -> None:
    rows = Rows()
    window = Window(1000, 60, 1 << 40, rows)
    rows.add(window, 1, [str(n) for n in range(500)])
    for n in range(500):
        find(window, str(n))
    assert rows.loads == 1


def test_a_row_that_is_gone_makes_nothing_known() -> None:
    window = Window(100, 60, 1 << 40, lambda seq: None)
    window.add(1, 0.0, ["a"])
    assert find(window, "a") is None


@given(st.lists(st.lists(st.text("abc", min_size=1, max_size=2), max_size=4, unique=True), max_size=30))
def test_what_it_finds_was_added_and_what_is_recent_is_found(batches: list[list[str]]) -> None:
    rows = Rows()
    window = Window(8, 1e9, 1 << 40, rows)
    recent: list[str] = []
    for seq, keys in enumerate(batches, 1):
        new = [key for key in keys if find(window, key) is None]
        rows.add(window, seq, new)
        recent = (recent + new)[-4:]
        assert all(find(window, key) == leaf(key) for key in recent)


def test_long_keys_are_bounded_by_what_they_take_in_the_spool() -> None:
    rows = Rows()
    window = Window(1000, 1e9, 4000, rows)
    for seq in range(1, 100):
        rows.add(window, seq, [f"{seq}-{n}" for n in range(10)])
        assert len(window) <= 110
    assert find(window, "99-1")
    assert find(window, "95-1")
