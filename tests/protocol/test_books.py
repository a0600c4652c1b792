"""The books: every leaf heard of has exactly one fate, and each fate its reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterfabric_protocol import notice
from meterfabric_protocol.books import FATES, Fate, LogBooks, LogEvidence, account
from meterfabric_protocol.checkpoint import Checkpoint
from meterfabric_protocol.delivery.stored import BatchKind, Held, LeafKind, StoredBatch, StoredNotice
from meterfabric_protocol.merkle import EMPTY_ROOT

LOG, LATER = ("a.b/c/pod/" + letter * 26 for letter in "xy")
ROOT = b"r" * 32


def batch(first: int, size: int, kind: BatchKind = "records", of: LeafKind = "records", log: str = LOG) -> StoredBatch:
    note = Checkpoint(log, size, ROOT, first).text() + b"\n\xe2\x80\x94 x AAAAAAAA\n"
    return StoredBatch(log, first, size, kind, of, note, b"", None, 0, b"")


def evidence(
    *batches: StoredBatch, head: int = 0, said: tuple[notice.Notice, ...] = (), log: str = LOG, **held: object
) -> LogEvidence:
    size = batches[-1].size if batches else 0
    row = Held(log, size, EMPTY_ROOT, b"", 0, 0, 0, max(head, size), b"", False, b"", b"", **held)  # type: ignore[arg-type]
    bodies = tuple(StoredNotice(index, notice.encode(each)) for index, each in enumerate(said))
    return LogEvidence(row, batches, bodies)


def fates(books: LogBooks) -> list[tuple[int, int, Fate]]:
    return [(each.first, each.size, each.fate) for each in books.stretches]


def test_what_is_held_is_delivered_and_what_was_heard_of_is_pending() -> None:
    (books,) = account([evidence(batch(0, 3), batch(3, 5), head=9)], "billing")
    assert fates(books) == [(0, 3, "delivered"), (3, 5, "delivered"), (5, 9, "pending")]
    assert books.whole


def test_what_a_vanished_pod_never_sent_is_abandoned() -> None:
    (books,) = account([evidence(batch(0, 3), head=9)], "billing", {LOG})
    assert fates(books)[-1] == (3, 9, "abandoned")


def test_notices_are_no_records() -> None:
    (books,) = account([evidence(batch(0, 2, "notices", "notices"), batch(2, 5))], "billing")
    assert books.records["delivered"] == 3
    assert books.count("delivered") == 5


@pytest.mark.parametrize(
    ("said", "fate"),
    [
        (notice.Damaged(log=LOG, ranges=((3, 5),), cause="hash"), "damaged"),
        (notice.Expired(log=LOG, sink="billing", ranges=((0, 9),), reason="age"), "expired"),
        (notice.LostBySink(log=LOG, sink="billing", ranges=((3, 5),)), "lost"),
        (notice.SinkJoined(log=LOG, sink="billing", size=5), "unowed"),
        (notice.Continues(log=LATER, previous=LOG, size=2, root=ROOT, heard=9, reason="rollback"), "missing"),
        (notice.Expired(log=LOG, sink="archive", ranges=((0, 9),), reason="age"), "unexplained"),
        (notice.Expired(log=LATER, sink="billing", ranges=((0, 9),), reason="age"), "unexplained"),
        (notice.Damaged(log=LOG, ranges=((0, 3),), cause="hash"), "unexplained"),
    ],
)
def test_a_stub_is_explained_by_a_notice_about_it_and_this_sink(said: notice.Notice, fate: Fate) -> None:
    logs = [evidence(batch(0, 3), batch(3, 5, "stub")), evidence(said=(said,), log=LATER)]
    books = account(logs, "billing")[0]
    assert fates(books)[:2] == [(0, 3, "delivered"), (3, 5, fate)]
    assert books.whole == (fate != "unexplained")


def test_a_stub_half_explained_is_not_whole() -> None:
    said = notice.Damaged(log=LOG, ranges=((0, 2),), cause="hash")
    (books,) = account([evidence(batch(0, 5, "stub"), said=(said,))], "billing")
    assert fates(books) == [(0, 2, "damaged"), (2, 5, "unexplained")]


def continues(*again: notice.Again) -> notice.Notice:
    return notice.Continues(log=LATER, previous=LOG, size=3, root=ROOT, reason="forked", again=again)


def test_a_repetition_is_explained_where_its_original_is_held() -> None:
    again = continues(notice.Again(3, 5, 1, ROOT), notice.Again(5, 8, 3, ROOT))
    old = evidence(batch(0, 3), batch(3, 5), final_size=3)
    new = evidence(
        batch(0, 1, "notices", "notices", LATER),
        batch(1, 3, "stub", log=LATER),
        batch(3, 6, log=LATER),
        said=(again,),
        log=LATER,
    )
    books = account([old, new], "billing")
    assert fates(books[1]) == [(0, 1, "delivered"), (1, 3, "repeated"), (3, 6, "delivered")]
    assert sum(each.records["delivered"] for each in books) == 8


def test_a_repetition_of_another_batch_explains_nothing() -> None:
    again = continues(notice.Again(3, 5, 1, b"s" * 32))
    new = evidence(batch(0, 1, "notices", "notices", LATER), batch(1, 3, "stub", log=LATER), said=(again,), log=LATER)
    books = account([evidence(batch(0, 3), batch(3, 5), final_size=3), new], "billing")
    assert books[1].count("unexplained") == 2


def test_past_the_named_end_nothing_is_pending() -> None:
    again = continues(notice.Again(3, 5, 1, ROOT))
    (books, _) = account([evidence(batch(0, 2), head=9, final_size=3), evidence(said=(again,), log=LATER)], "billing")
    assert fates(books) == [(0, 2, "delivered"), (2, 3, "pending"), (3, 5, "repeated"), (5, 9, "missing")]


def test_what_a_fork_could_not_repeat_is_damaged_where_a_notice_says_so() -> None:
    again = continues(notice.Again(3, 5, 1, ROOT))
    said = (again, notice.Damaged(log=LOG, ranges=((4, 7),), cause="hash"))
    (books, _) = account([evidence(batch(0, 3), head=9, final_size=3), evidence(said=said, log=LATER)], "billing")
    assert fates(books) == [(0, 3, "delivered"), (3, 5, "repeated"), (5, 7, "damaged"), (7, 9, "missing")]


def test_what_a_sink_lost_of_one_branch_counts_beside_what_it_holds_of_another() -> None:
    fork = notice.Continues(log=LATER, previous=LOG, size=3, root=ROOT, heard=9, reason="forked")
    said = (fork, notice.LostBySink(log=LOG, sink="billing", ranges=((3, 8),)))
    old = evidence(batch(0, 3), batch(3, 5), head=9, final_size=3)
    books, _ = account([old, evidence(said=said, log=LATER)], "billing")
    assert fates(books) == [(0, 3, "delivered"), (3, 5, "delivered"), (5, 8, "lost"), (8, 9, "missing")]
    assert [(each.first, each.size, each.fate) for each in books.parted] == [(3, 5, "lost")]
    assert (books.records["delivered"], books.records["lost"]) == (5, 5)


def test_what_a_sink_that_left_did_not_get_is_unowed() -> None:
    said = notice.SinkLeft(log=LOG, sink="billing", size=3)
    (books,) = account([evidence(batch(0, 3), head=9, said=(said,))], "billing")
    assert fates(books)[-1] == (3, 9, "unowed")


def test_a_hole_in_what_is_stored_is_not_whole() -> None:
    (books,) = account([evidence(batch(0, 3), batch(5, 7))], "billing")
    assert fates(books) == [(0, 3, "delivered"), (3, 5, "unexplained"), (5, 7, "delivered")]
    assert not books.whole


def test_a_later_releases_notice_explains_nothing_and_breaks_nothing() -> None:
    log = evidence(batch(0, 3, "stub"))
    strange = LogEvidence(log.held, log.batches, (StoredNotice(0, b'!{"notice":"eaten","v":9}'),))
    assert account([strange], "billing")[0].count("unexplained") == 3


RANGE = st.tuples(st.integers(0, 20), st.integers(1, 20)).map(lambda pair: (pair[0], pair[0] + pair[1]))
SAID = st.one_of(
    RANGE.map(lambda each: notice.Damaged(log=LOG, ranges=(each,), cause="hash")),
    RANGE.map(lambda each: notice.Expired(log=LOG, sink="billing", ranges=(each,), reason="quota")),
    RANGE.map(lambda each: notice.LostBySink(log=LOG, sink="billing", ranges=(each,))),
    st.integers(0, 20).map(lambda size: notice.SinkJoined(log=LOG, sink="billing", size=size)),
    st.integers(0, 20).map(lambda size: notice.SinkLeft(log=LOG, sink="billing", size=size)),
)


@given(
    st.lists(st.tuples(st.integers(1, 5), st.sampled_from(["records", "stub", "notices"])), max_size=6),
    st.integers(0, 40),
    st.lists(SAID, max_size=5),
    st.integers(-1, 30),
)
def test_every_leaf_heard_of_has_one_fate(
    sizes: list[tuple[int, BatchKind]], head: int, said: list[notice.Notice], final: int
) -> None:
    batches: list[StoredBatch] = []
    for count, kind in sizes:
        first = batches[-1].size if batches else 0
        batches.append(batch(first, first + count, kind, "notices" if kind == "notices" else "records"))
    log = evidence(*batches, head=head, said=tuple(said), final_size=final)
    (books,) = account([log], "billing")
    assert [each.first for each in books.stretches] == [0, *(each.size for each in books.stretches)][:-1]
    assert books.size == max(log.held.size, log.held.head_size, final, 0)
    assert sum(books.count(fate) for fate in FATES) == books.size
    held = sum(b.size - b.first for b in batches if b.kind != "stub")
    assert books.count("delivered") == held
