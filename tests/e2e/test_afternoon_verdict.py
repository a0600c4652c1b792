"""The verdict on a sink: lists of clients, what is held, and an audit, made up."""

from typing import Any

from tests.e2e.verdict import Lists, SinkVerdict, judged

ONE, TWO, THREE = "pod-a-17-0", "pod-a-17-1", "pod-b-18-0"


def lists(*accepted: str, asked: tuple[str, ...] = ()) -> Lists:
    return Lists(dict.fromkeys((*accepted, *asked), 1.0), dict.fromkeys(accepted, 2.0))


def audit(*producers: tuple[str, dict[str, int]], whole: bool = True) -> dict[str, Any]:
    told = [{"pod": pod, "records": records} for pod, records in producers]
    return {"whole": whole, "findings": [] if whole else ["a hash"], "producers": told}


def verdict(held: list[str], told: dict[str, Any], listed: Lists) -> SinkVerdict:
    return judged("billing", listed, held, told)


def test_all_there_once_is_well() -> None:
    found = verdict([ONE, TWO, THREE], audit(("pod-a", {"delivered": 2})), lists(ONE, TWO, THREE))
    assert (found.wrong, found.held, found.lacking) == ((), 3, 0)


def test_a_record_that_is_there_twice_is_wrong() -> None:
    (wrong,) = verdict([ONE, ONE], audit(), lists(ONE)).wrong
    assert "more than once" in wrong
    assert ONE in wrong


def test_a_record_that_no_client_sent_is_wrong_and_one_that_was_only_asked_for_is_not() -> None:
    (wrong,) = verdict([ONE, THREE], audit(), lists(ONE)).wrong
    assert "no client sent" in wrong
    assert verdict([ONE, THREE], audit(), lists(ONE, asked=(THREE,))).wrong == ()


def test_a_record_that_is_lacking_is_wrong_unless_its_own_producers_books_give_it_up() -> None:
    (wrong,) = verdict([ONE], audit(("pod-b", {"expired": 1})), lists(ONE, TWO)).wrong
    assert TWO in wrong
    found = verdict([ONE], audit(("pod-a", {"expired": 1, "delivered": 1})), lists(ONE, TWO))
    assert (found.wrong, found.lacking, found.fates) == ((), 1, {"expired": 1, "delivered": 1})


def test_what_is_pending_at_the_end_and_an_audit_that_is_not_whole_are_wrong() -> None:
    (wrong,) = verdict([ONE], audit(("pod-a", {"pending": 3})), lists(ONE)).wrong
    assert "3 records are still pending" in wrong
    (wrong,) = verdict([ONE], audit(whole=False), lists(ONE)).wrong
    assert "a hash" in wrong
