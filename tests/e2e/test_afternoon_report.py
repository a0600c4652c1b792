"""The report of an afternoon that never was."""

from pathlib import Path
from xml.etree import ElementTree

from tests.e2e import report
from tests.e2e.afternoon import Afternoon, Happened
from tests.e2e.measured import Sample
from tests.e2e.recovery import Death, times
from tests.e2e.verdict import SinkVerdict, Verdict


def afternoon(recovery: tuple[float, ...] = (0.1, 0.4), wrong: tuple[str, ...] = ()) -> Afternoon:
    sinks = tuple(SinkVerdict(name, 90, 0, {"delivered": 90}, wrong) for name in ("billing", "archive"))
    happened = (
        Happened("fill PostgreSQL's <disk>", 10.0, 30.0, "node-1", True),
        Happened("kill a relay", 40.0, 40.0, "none of them runs", False),
    )
    samples = (Sample(0.0, 0, 0, 0), Sample(30.0, 40, None, 38), Sample(60.0, 90, 90, 88))
    return Afternoon(7, 60.0, 20, happened, samples, recovery, Verdict(sinks, 90), 75.0)


def test_the_page_says_seed_counts_faults_and_verdict() -> None:
    page = report.page(afternoon())
    for said in (
        "seed 7",
        "**Balanced.**",
        "| billing | 90 | 90 | 0 | 90 delivered |",
        "p99 0.40 s",
        "| fill PostgreSQL's <disk> | 1 | 20 |",
        "not done: none of them runs",
    ):
        assert said in page


def test_the_page_says_what_is_wrong() -> None:
    page = report.page(afternoon(wrong=("3 records are still pending",)))
    assert "**Not balanced.**" in page
    assert "- wrong: billing: 3 records are still pending" in page


def test_recovery_beyond_two_seconds_is_told() -> None:
    assert report.too_slow(afternoon((0.1, 1.9))) == []
    (slow,) = report.too_slow(afternoon((0.1, 2.1)))
    assert "2.10 s" in slow


def test_the_picture_is_an_svg_with_a_bar_a_fault_and_lines_that_break_where_nothing_is_known(tmp_path: Path) -> None:
    report.write(afternoon(), tmp_path)
    picture = (tmp_path / report.PICTURE).read_text()
    ElementTree.fromstring(picture)
    assert "fill PostgreSQL&#x27;s" not in picture
    assert "fill PostgreSQL's &lt;disk&gt;" in picture
    postgres = [line for line in picture.splitlines() if "#2e8b57" in line and "<path" in line]
    assert len(postgres) == 2
    assert report.PICTURE in (tmp_path / report.PAGE).read_text()


def test_recovery_is_the_slower_of_what_waited_and_what_came_after() -> None:
    death = Death(100.0, "relay", frozenset({"pod-a", "pod-b", "pod-c"}))
    accepted = {"pod-a-1-0": 99.9, "pod-a-1-1": 101.0, "pod-b-1-0": 98.0, "pod-b-1-1": 103.0}
    committed = {"pod-a-1-0": 100.1, "pod-a-1-1": 102.5, "pod-b-1-0": 98.1, "pod-b-1-1": 103.2}
    found = times([death], accepted, committed)
    assert [round(each, 3) for each in found] == [0.2, 1.5]
