"""The table of places behind the window: every key that was put in is found, bad tables are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterfabric_sidecar._places import holds_none, places_of, put_all

keys = st.text("abcé\U0001f600", max_size=4)


@given(st.lists(st.lists(keys, max_size=12), max_size=12), st.lists(keys, max_size=12))
def test_what_was_put_in_is_found_at_all_its_places(batches: list[list[str]], others: list[str]) -> None:
    table = bytearray(8 * 256)
    held: dict[str, list[int]] = {}
    for place, batch in enumerate(batches):
        new = len(set(batch)) == len(batch) and not held.keys() & set(batch)
        assert holds_none(table, batch) == (not held.keys() & set(batch))
        assert put_all(table, batch, place) == new
        for key in batch:
            held.setdefault(key, []).append(place)
    for key in (*held, *others):
        # Forty bits of a hash tell so few keys apart for sure.
        assert places_of(table, key) == held.get(key, [])
    assert holds_none(table, others) == (not held.keys() & set(others))


def test_a_full_table_says_so_and_answers_still() -> None:
    table = bytearray(8 * 4)
    assert put_all(table, ["a", "b", "c"], 1)
    assert put_all(table, ["d"], 2)
    assert places_of(table, "d") == [2]
    assert places_of(table, "e") == []
    assert holds_none(table, ["e", "f"])
    with pytest.raises(ValueError, match="full"):
        put_all(table, ["e"], 3)


@pytest.mark.parametrize("size", [0, 7, 8 * 3, 8 * 4 + 4])
def test_a_buffer_that_is_no_table_is_refused(size: int) -> None:
    for act in (lambda table: holds_none(table, []), lambda table: put_all(table, [], 0), lambda t: places_of(t, "a")):
        with pytest.raises(ValueError, match=f"{size} bytes are no table"):
            act(bytearray(size))


@pytest.mark.parametrize("place", [-1, 2**24 - 1, 2**40])
def test_a_place_that_has_no_room_in_a_slot_is_refused(place: int) -> None:
    with pytest.raises(ValueError, match=f"{place} is no place"):
        put_all(bytearray(64), ["a"], place)
    assert put_all(bytearray(64), ["a"], 2**24 - 2)


def test_what_is_no_list_of_strings_is_refused() -> None:
    table = bytearray(64)
    with pytest.raises(TypeError):
        holds_none(table, ("a",))  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        put_all(table, [[]], 0)  # type: ignore[list-item]
    with pytest.raises(BufferError):
        places_of(b"12345678", "a")  # type: ignore[arg-type]
