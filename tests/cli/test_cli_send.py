"""Sending files: every line once, in batches, again until answered; what is refused is told by its line."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from meterfabric_cli.errors import CommandError
from meterfabric_cli.sending.lines import Line, read_lines
from meterfabric_cli.sending.sender import Counts, GaveUp, Sender
from meterfabric_client.transport import Accepted, Again, Answer, Batch, Outcome, Refused, Waker
from tests.cli.running import Command


class FakeTransport:
    """Answers as told: `judge` gives the outcome of each body sent."""

    def __init__(self, judge: Callable[[Batch], Outcome], room: int = 1 << 20, in_flight: int = 4) -> None:
        self.waker = Waker()
        self.sent: list[list[bytes]] = []
        self._judge = judge
        self._room = room
        self._most = in_flight
        self._out: list[Batch] = []

    def allowance(self) -> int:
        return self._room if len(self._out) < self._most else 0

    @property
    def in_flight(self) -> int:
        return len(self._out)

    def submit(self, batch: Batch) -> None:
        assert len(batch.body) <= self.allowance()
        self.sent.append(batch.lines)
        self._out.append(batch)

    def wait(self, timeout: float | None) -> list[Answer]:
        answers = [(batch, self._judge(batch)) for batch in self._out]
        self._out.clear()
        return answers

    def close(self) -> None:
        self.waker.close()


def lines(count: int, size: int = 10) -> Iterator[Line]:
    return iter(Line("file", number, b"%0*d" % (size, number)) for number in range(1, count + 1))


def sender(transport: FakeTransport, source: Iterator[Line], refused: list[str], **changed: float) -> Sender:
    return Sender(
        transport,
        source,
        batch_records=100,
        batch_bytes=5_000,
        rate=changed.get("rate"),
        patience=changed.get("patience", 60.0),
        on_refused=lambda line, reason: refused.append(f"{line.number}: {reason}"),
        on_progress=lambda counts: None,
    )


def test_every_line_is_sent_once_in_batches_within_both_bounds() -> None:
    transport = FakeTransport(lambda batch: Accepted())
    run = sender(transport, lines(1_234), [])
    run.run()
    assert run.counts == Counts(accepted=1_234)
    assert [line for batch in transport.sent for line in batch] == [line.text for line in lines(1_234)]
    assert {len(batch) for batch in transport.sent} == {100, 34}
    transport = FakeTransport(lambda batch: Accepted())
    sender(transport, lines(100, size=999), []).run()
    assert {len(batch) for batch in transport.sent} == {5}


def test_nothing_is_sent_of_an_empty_file() -> None:
    transport = FakeTransport(lambda batch: Accepted())
    sender(transport, lines(0), []).run()
    assert transport.sent == []


def test_what_wasnt_answered_is_sent_again_with_the_same_bytes() -> None:
    failures = [Again("503", 0.0), Again("503", 0.0)]
    transport = FakeTransport(lambda batch: failures.pop() if failures else Accepted())
    run = sender(transport, lines(50), [])
    run.run()
    assert run.counts == Counts(accepted=50)
    assert transport.sent == [[line.text for line in lines(50)]] * 3


def test_a_refused_line_is_told_and_the_others_go_again() -> None:
    bad = {b"%010d" % number for number in (7, 9, 50)}

    def judge(batch: Batch) -> Outcome:
        found = [index for index, line in enumerate(batch.lines) if line in bad]
        return Refused({"index": found[0], "field": "id", "detail": "is empty"}) if found else Accepted()

    refused: list[str] = []
    run = sender(FakeTransport(judge), lines(120), refused)
    run.run()
    assert run.counts == Counts(accepted=117, refused=3)
    assert refused == ["7: id: is empty", "9: id: is empty", "50: id: is empty"]


def test_a_batch_refused_without_saying_which_line_is_halved_until_it_is_found() -> None:
    refused: list[str] = []
    transport = FakeTransport(lambda batch: Refused({"title": "no"}) if b"%010d" % 33 in batch.lines else Accepted())
    run = sender(transport, lines(64), refused)
    run.run()
    assert (run.counts, refused) == (Counts(accepted=63, refused=1), ["33: no"])


def test_it_gives_up_when_nothing_is_answered() -> None:
    run = sender(FakeTransport(lambda batch: Again("connection refused", 0.01)), lines(250), [], patience=0.05)
    with pytest.raises(GaveUp, match="connection refused"):
        run.run()
    assert run.counts.unanswered > 0


def test_a_batch_is_made_smaller_where_less_may_be_sent() -> None:
    transport = FakeTransport(lambda batch: Accepted(), room=50)
    sender(transport, lines(20), []).run()
    assert {len(batch) for batch in transport.sent} == {4}


def test_a_rate_makes_small_batches() -> None:
    transport = FakeTransport(lambda batch: Accepted())
    run = sender(transport, lines(40), [], rate=400.0)
    run.run()
    assert run.counts.accepted == 40
    assert max(map(len, transport.sent)) <= 20


def test_lines_are_numbered_by_file_and_empty_ones_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "one"
    file.write_bytes(b"a\n\r\n  \n b \r\nlast")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"piped\n")))
    read: list[int] = []
    found = list(read_lines([str(file), "-"], 100, read.append))
    assert found == [
        Line(str(file), 1, b"a"),
        Line(str(file), 4, b"b"),
        Line(str(file), 5, b"last"),
        Line("stdin", 1, b"piped"),
    ]
    assert sum(read) == file.stat().st_size + 6


def test_a_line_without_end_is_an_error_and_not_memory(tmp_path: Path) -> None:
    file = tmp_path / "long"
    file.write_bytes(b"12345\n123456\n")
    with pytest.raises(CommandError, match=":2: a line of more than 5 bytes"):
        list(read_lines([str(file)], 5, lambda size: None))
    file.write_bytes(b"12345")
    assert len(list(read_lines([str(file)], 5, lambda size: None))) == 1


def test_what_cant_be_sent_is_said_in_one_line(tmp_path: Path, meterfabric: Command) -> None:
    file = tmp_path / "events.ndjson"
    file.write_bytes(b"{}\n")
    for words, said in (
        (("--url", "http://127.0.0.1:1", tmp_path / "none"), "can't be read"),
        (("--url", "ftp://x", file), "begins with http:// or tcp://"),
        (("--url", "http://127.0.0.1:1", "--rate", "0", file), "'0' is no number of records above 0"),
        (("--url", "http://127.0.0.1:1"), "FILE"),
    ):
        done = meterfabric("send", *words)
        assert done.code == 2
        assert said in done.err
        assert done.err.count("\n") == 1


def test_a_sidecar_that_isnt_there_is_given_up(tmp_path: Path, meterfabric: Command) -> None:
    file = tmp_path / "events.ndjson"
    file.write_bytes(b"{}\n" * 3)
    for url in ("http://127.0.0.1:1", "tcp://127.0.0.1:1"):
        done = meterfabric("send", "--url", url, "--timeout", "300ms", file)
        assert done.code == 1
        assert "0 records accepted" in done.out
        assert ("3 unanswered" in done.out) == url.startswith("http")
        assert "gave up after 0.3 s" in done.err
