"""Which log a sidecar goes on with: every case of key, head and spool."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import UNSET

from meterfabric_protocol.limits import NOTICE_AGAIN
from meterfabric_protocol.merkle import EMPTY_ROOT, CompactRange, leaf_hashes
from meterfabric_protocol.notice import Again, Continues, Opened
from meterfabric_sidecar.keys import Head, Held
from meterfabric_sidecar.opening import Begin, Ended, GoOn, decide, first_leaves
from meterfabric_sidecar.spool.rows import LogRow, LogState
from tests.spools import MAKE_ORIGIN

KEY, OTHER, THIRD = (Ed25519PrivateKey.generate() for _ in range(3))
SIZE = 7
FRONTIER = CompactRange.empty().append(leaf_hashes(bytes([n]) for n in range(SIZE)))


def log(key: Ed25519PrivateKey = KEY, state: LogState = "active") -> LogRow:
    public = key.public_key().public_bytes_raw()
    return LogRow(1, MAKE_ORIGIN(public), public, state, FRONTIER, 3, 5, 900, 0, None, 0.0, None, None, None)


ORIGIN = log().origin


def held(size: int = SIZE, root: bytes = FRONTIER.root(), key: Ed25519PrivateKey = KEY) -> tuple[Held, Head]:
    head = Head(log(key).origin, size, root)
    return Held(key, head), head


def test_nothing_before_opens() -> None:
    begin = decide(None, None, [], None)
    assert begin == Begin(None, 0, EMPTY_ROOT, None, "")
    assert isinstance(begin, Begin)
    assert begin.notices("new") == [Opened(log="new")]


def test_a_crash_with_the_key_alive_goes_on() -> None:
    holding, head = held()
    assert decide(holding, head, [log()], FRONTIER.root()) == GoOn(log(), holding)


def test_a_head_that_the_spool_is_past_goes_on() -> None:
    # The commit was durable, the head not yet moved.
    holding, head = held(4, b"4" * 32)
    assert isinstance(decide(holding, head, [log()], b"4" * 32), GoOn)
    holding, head = held(0, EMPTY_ROOT)
    assert isinstance(decide(holding, head, [log()], None), GoOn)


def test_a_spool_behind_its_head_continues_under_a_new_key() -> None:
    holding, head = held(9, b"9" * 32)
    begin = decide(holding, head, [log()], None)
    assert begin == Begin(ORIGIN, SIZE, FRONTIER.root(), 9, "rollback")
    assert isinstance(begin, Begin)
    assert begin.notices("new") == [
        Continues(log="new", previous=ORIGIN, size=SIZE, root=FRONTIER.root(), heard=9, reason="rollback")
    ]


def test_another_root_at_the_heads_size_is_a_rollback_too() -> None:
    holding, head = held(4, b"4" * 32)
    begin = decide(holding, head, [log()], b"5" * 32)
    assert begin == Begin(ORIGIN, SIZE, FRONTIER.root(), 4, "rollback")
    assert isinstance(begin, Begin)
    (notice,) = begin.notices("new")
    assert isinstance(notice, Continues)
    assert notice.heard is UNSET


def test_a_log_that_was_closed_is_continued() -> None:
    holding, head = held()
    assert decide(holding, head, [log(state="closed")], FRONTIER.root()) == Begin(
        ORIGIN, SIZE, FRONTIER.root(), None, "restart"
    )


def test_a_lost_key_continues() -> None:
    assert decide(None, None, [log()], None) == Begin(ORIGIN, SIZE, FRONTIER.root(), None, "key-lost")
    _, head = held()
    assert decide(None, head, [log()], FRONTIER.root()) == Begin(ORIGIN, SIZE, FRONTIER.root(), SIZE, "key-lost")


def test_another_logs_key_counts_as_lost() -> None:
    holding, _ = held(0, EMPTY_ROOT, OTHER)
    assert decide(holding, holding.head, [log()], None) == Begin(ORIGIN, SIZE, FRONTIER.root(), None, "key-lost")


def test_a_key_without_its_head_is_not_trusted() -> None:
    assert decide(Held(KEY, None), None, [log()], None) == Begin(ORIGIN, SIZE, FRONTIER.root(), None, "head-lost")


def test_a_spool_that_was_lost_is_told_as_far_as_it_was_heard() -> None:
    holding, head = held()
    assert decide(holding, head, [], None) == Begin(ORIGIN, 0, EMPTY_ROOT, SIZE, "spool-lost")


@pytest.mark.parametrize("state", ["active", "closed", "dead"])
@pytest.mark.parametrize("key", [True, False])
def test_a_copy_of_the_spool_from_before_the_keys_log_is_a_rollback_and_its_last_log_is_continued_too(
    state: LogState, key: bool
) -> None:
    holding, head = held(3, b"3" * 32, OTHER)
    begin = decide(holding if key else None, head, [log(THIRD, "closed"), log(state=state)], None)
    ended = Ended(ORIGIN, SIZE, FRONTIER.root(), "rollback")
    assert begin == Begin(log(OTHER).origin, 0, EMPTY_ROOT, 3, "rollback", ended=ended)
    assert isinstance(begin, Begin)
    assert begin.notices("new") == [
        Continues(log="new", previous=log(OTHER).origin, size=0, root=EMPTY_ROOT, heard=3, reason="rollback"),
        Continues(log="new", previous=ORIGIN, size=SIZE, root=FRONTIER.root(), reason="rollback"),
    ]


def test_a_last_log_that_is_broken_is_left_to_the_log_that_repeats_it() -> None:
    holding, head = held(3, b"3" * 32, OTHER)
    begin = decide(holding, head, [replace(log(), broken_at=2)], None)
    assert begin == Begin(log(OTHER).origin, 0, EMPTY_ROOT, 3, "rollback")


def test_a_key_that_never_signed_leaves_the_last_log_to_be_continued() -> None:
    holding, head = held(0, EMPTY_ROOT, OTHER)
    assert decide(holding, head, [log(state="closed")], None) == Begin(ORIGIN, SIZE, FRONTIER.root(), None, "restart")
    assert decide(holding, head, [log(state="dead")], None) == Begin(ORIGIN, SIZE, FRONTIER.root(), None, "key-lost")


def test_a_key_that_never_signed_is_forgotten() -> None:
    holding, head = held(0, EMPTY_ROOT, OTHER)
    assert decide(holding, head, [], None) == Begin(None, 0, EMPTY_ROOT, None, "")


def test_what_one_notice_cannot_name_takes_more_of_them() -> None:
    again = tuple(Again(at=3 + n, first=10 + n, size=11 + n, root=b"r" * 32) for n in range(2 * NOTICE_AGAIN + 1))
    notices = Begin(ORIGIN, SIZE, FRONTIER.root(), None, "forked", again).notices("new")
    assert len(notices) == first_leaves(len(again)) == 3
    assert sum((each.again for each in notices if isinstance(each, Continues)), ()) == again
    assert first_leaves(0) == first_leaves(NOTICE_AGAIN) == 1
