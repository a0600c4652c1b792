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
        window.add(seq, at, 40 * len(keys), {hash(key): seq for key in keys})


def leaf(key: str) -> bytes:
    return key.encode().ljust(32, b"_")


def test_a_key_is_found_with_its_leaf_hash() -> None:
    rows = Rows()
    window = Window(100, 60, 1 << 40, rows)
    rows.add(window, 1, ["a", "b"])
    rows.add(window, 2, ["c"])
    assert not window.knows_none([hash("b")])
    assert window.knows_none([hash("d")])
    assert [window.find(key) for key in "abcd"] == [leaf("a"), leaf("b"), leaf("c"), None]
    assert len(window) == 3


def test_a_hash_that_two_keys_share_makes_nobody_known() -> None:
    rows = Rows()
    window = Window(100, 60, 1 << 40, rows)
    rows.add(window, 1, ["a"])
    window.add(1, 0.0, 40, {hash("z"): 1})
    assert not window.knows_none([hash("z")])
    assert window.find("z") is None


def test_it_holds_at_least_half_and_at_most_all_of_its_records() -> None:
    rows = Rows()
    window = Window(100, 1e9, 1 << 40, rows)
    for seq in range(1, 200):
        rows.add(window, seq, [f"{seq}-{n}" for n in range(10)])
        assert len(window) <= 110
        newest = [f"{s}-{n}" for s in range(max(1, seq - 4), seq + 1) for n in range(10)]
        assert all(window.find(key) for key in newest)
    assert window.find("1-1") is None
    assert window.first_seq > 185


def test_it_forgets_by_time_though_nothing_new_comes() -> None:
    rows = Rows()
    window = Window(100, 60, 1 << 40, rows)
    rows.add(window, 1, ["a"], at=0)
    window.age(59)
    assert window.find("a")
    window.age(61)
    assert window.find("a")
    window.age(122)
    assert window.find("a") is None
    assert window.first_seq == 2


def test_a_repeated_batch_is_read_once() -> None:
    rows = Rows()
    window = Window(1000, 60, 1 << 40, rows)
    rows.add(window, 1, [str(n) for n in range(500)])
    for n in range(500):
        window.find(str(n))
    assert rows.loads == 1


def test_a_row_that_is_gone_makes_nothing_known() -> None:
    window = Window(100, 60, 1 << 40, lambda seq: None)
    window.add(1, 0.0, 40, {hash("a"): 1})
    assert window.find("a") is None


@given(st.lists(st.lists(st.text("abc", min_size=1, max_size=2), max_size=4, unique=True), max_size=30))
def test_what_it_finds_was_added_and_what_is_recent_is_found(batches: list[list[str]]) -> None:
    rows = Rows()
    window = Window(8, 1e9, 1 << 40, rows)
    recent: list[str] = []
    for seq, keys in enumerate(batches, 1):
        new = [key for key in keys if window.find(key) is None]
        rows.add(window, seq, new)
        recent = (recent + new)[-4:]
        assert all(window.find(key) == leaf(key) for key in recent)


def test_long_keys_are_bounded_by_what_they_take_in_the_spool() -> None:
    rows = Rows()
    window = Window(1000, 1e9, 4000, rows)
    for seq in range(1, 100):
        rows.add(window, seq, [f"{seq}-{n}" for n in range(10)])
        assert len(window) <= 110
    assert window.find("99-1")
    assert window.find("95-1")
