"""Records of a log that had no certificate: proven through the enrolled log of the same pod that names its end."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from meterfabric_cli.proving import prove as proof_of
from meterfabric_protocol import notice
from meterfabric_sink.evidence import Found, open_evidence
from tests.cli.made_sink import MadeLog, MadeSink, event
from tests.cli.running import Command, Done
from tests.independent import verify_vouched_proof

Change = Callable[[Path, Path], None]


def continues(new: MadeLog, old: MadeLog) -> notice.Continues:
    """What the new log says of the old one, as it is now."""
    root = old.frontier.root()
    return notice.Continues(log=new.origin, previous=old.origin, size=old.size, root=root, reason="key-lost")


def prove(meterfabric: Command, sink: MadeSink, number: int, out: Path) -> Done:
    return meterfabric("prove", "--sink", sink.url, "--source", "//meter", "--id", f"event-{number}", "--out", out)


def verify(meterfabric: Command, sink: MadeSink, proof: Path) -> Done:
    return meterfabric("verify", proof, "--trust", sink.trust)


def vouched(sink: MadeSink) -> tuple[MadeLog, MadeLog]:
    """A log without certificate, records in leaves [1, 4), [4, 9) and [9, 11), and the log that vouches for it."""
    old, new = sink.log(enrolled=False).open().records(3).records(5).records(2), sink.log()
    sink.take(new.say(continues(new, old)))
    return old, new


def test_each_record_is_proven_by_the_later_logs_word(any_sink: MadeSink, meterfabric: Command, tmp_path: Path) -> None:
    old, new = vouched(any_sink)
    any_sink.take(old)
    for index in (1, 4, 9):
        out = tmp_path / f"proof-{index}"
        done = prove(meterfabric, any_sink, index, out)
        assert (done.code, done.out) == (0, f"{out}: proof of leaf {index} of {old.origin}\n")
        assert (out / "record.json").read_bytes() == event(index)
        assert sorted(path.name for path in (out / "voucher-1").iterdir()) == [
            "continues.notice",
            "continues.tlog-proof",
            "producer.pem",
            "sink.pem",
        ]
        # The last batch's own checkpoint is the one that the voucher names.
        assert (out / "end.tlog-proof").exists() == (index != 9)
        done = verify(meterfabric, any_sink, out)
        assert done.code == 0, done.out
        assert done.out.splitlines()[-1] == "holds"
        assert f"vouched   by leaf 0 of the same pod's {new.origin}: it ends at leaf 11\n" in done.out
        assert "/ns/shop/sa/web/pod/web-0/" in done.out


def test_openssl_and_the_standards_text_verify_it(sink: MadeSink, meterfabric: Command, tmp_path: Path) -> None:
    old, _ = vouched(sink)
    sink.take(old)
    for index in (1, 4, 9):
        prove(meterfabric, sink, index, tmp_path / "proof")
        shown = verify_vouched_proof(tmp_path / "proof", sink.trust, tmp_path)
        assert (shown.origin, shown.index) == (old.origin, index)
        assert shown.producer == "spiffe://example.org/fabric/metering.main/ns/shop/sa/web/pod/web-0/uid/6a1f-22"


def test_a_log_whose_end_never_came_is_proven_and_that_is_told(
    sink: MadeSink, meterfabric: Command, tmp_path: Path
) -> None:
    old, _ = vouched(sink)
    old.sealed = old.sealed[:2]
    sink.take(old)
    assert prove(meterfabric, sink, 2, tmp_path / "proof").code == 0
    assert not (tmp_path / "proof" / "end.tlog-proof").exists()
    done = verify(meterfabric, sink, tmp_path / "proof")
    assert done.code == 0
    assert "it ends at leaf 11 (to there it isn't held" in done.out


def test_a_voucher_that_is_vouched_for_itself_is_proven_through_both(
    sink: MadeSink, meterfabric: Command, tmp_path: Path
) -> None:
    first, second, third = sink.log(enrolled=False).open().records(3), sink.log(enrolled=False), sink.log()
    second.say(continues(second, first)).records(2)
    third.say(continues(third, second))
    sink.take(third)
    # A worker that must look another log's position up first asks for what came behind again.
    notices, records = second.sealed
    for second.sealed in ([notices], [records]):
        assert sink.take(second) == ["receipt"]
    sink.take(first)
    proof = tmp_path / "proof"
    assert prove(meterfabric, sink, 3, proof).code == 0
    assert (proof / "voucher-1" / "end.tlog-proof").exists()
    assert (proof / "voucher-2").is_dir()
    done = verify(meterfabric, sink, proof)
    assert done.code == 0, done.out
    assert [line.split()[8] for line in done.out.splitlines() if line.startswith("vouched")] == [
        f"{second.origin}:",
        f"{third.origin}:",
    ]
    # A proof of a record with a certificate of its own goes into the same folder and leaves nothing of this one.
    sink.take(third.add([event(77)]))
    assert prove(meterfabric, sink, 77, proof).code == 0
    assert sorted(path.name for path in proof.iterdir()) == [
        "producer.pem",
        "record.json",
        "record.tlog-proof",
        "sink.pem",
    ]
    assert verify(meterfabric, sink, proof).code == 0


def test_a_log_that_nobody_vouches_for_any_more_has_no_proof(
    sink: MadeSink, meterfabric: Command, tmp_path: Path
) -> None:
    old, new = vouched(sink)
    sink.take(old)
    with closing(sqlite3.connect(sink.url.partition(":")[2])) as database, database:
        database.execute("DELETE FROM notices WHERE origin = ?", (new.origin,))
    done = prove(meterfabric, sink, 2, tmp_path / "proof")
    assert (done.code, done.out) == (2, "")
    assert f"{new.origin} is said to vouch for it and has no notice of that; run audit" in done.err
    assert not (tmp_path / "proof").exists()


def copied(name: str, other: str) -> Change:
    """Put a file of the other proof in the place of one of this."""
    return lambda proof, second: shutil.copy(second / other, proof / name) and None


def edited(name: str, old: str, new: str) -> Change:
    def edit(proof: Path, _: Path) -> None:
        text = (proof / name).read_text()
        assert old in text
        (proof / name).write_text(text.replace(old, new, 1))

    return edit


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (edited("record.json", '"value":2', '"value":9'), "leads to another root"),
        (lambda proof, _: shutil.rmtree(proof / "voucher-1"), "malformed"),
        (copied("producer.pem", "producer.pem"), "not the key that"),
        (copied("producer.pem", "voucher-1/producer.pem"), "no public key"),
        (edited("voucher-1/continues.notice", '"size":11', '"size":12'), "leads to another root"),
        (copied("voucher-1/continues.notice", "record.json"), "leads to another root"),
        (copied("voucher-1/producer.pem", "producer.pem"), "malformed"),
        (copied("end.tlog-proof", "end.tlog-proof"), "checkpoint: of the log"),
        (edited("end.tlog-proof", "index 2", "index 3"), "is of leaf 3, the proof beside it of 2"),
        (edited("end.tlog-proof", "\n11\n", "\n12\n"), "signature"),
    ],
)
def test_a_vouched_proof_that_was_altered_does_not_hold(
    sink: MadeSink, meterfabric: Command, tmp_path: Path, change: Change, said: str
) -> None:
    old, _ = vouched(sink)
    other, later = sink.log("web-1", enrolled=False).open().add([event(50)]).add([event(51)]), sink.log("web-1")
    sink.take(later.say(continues(later, other)))
    sink.take(old, other)
    proof, second = tmp_path / "proof", tmp_path / "second"
    assert prove(meterfabric, sink, 2, proof).code == 0
    assert prove(meterfabric, sink, 50, second).code == 0
    assert verify(meterfabric, sink, proof).code == 0
    change(proof, second)
    done = verify(meterfabric, sink, proof)
    assert done.code == 1
    assert done.out.startswith("DOES NOT HOLD: ")
    assert said in done.out


@pytest.mark.parametrize(
    ("pod", "named", "size", "said"),
    [
        ("web-1", "other", 11, "continues.notice: names metering.main/shop/web-1/"),
        ("web-1", "old", 11, "is no log of the pod of"),
        ("web-0", "old", 1, "says that the log ends at leaf 1, the checkpoint is of 4"),
        ("web-0", "old", 4, "names another end"),
        ("web-0", "old", 11, "names another end"),
    ],
)
def test_a_true_notice_that_says_something_else_vouches_for_nothing(
    sink: MadeSink, meterfabric: Command, tmp_path: Path, pod: str, named: str, size: int, said: str
) -> None:
    old, _ = vouched(sink)
    sink.take(old)
    proof = tmp_path / "proof"
    assert prove(meterfabric, sink, 2, proof).code == 0
    previous = old if named == "old" else sink.log(pod)
    log = sink.log(pod)
    wrong = notice.Continues(log=log.origin, previous=previous.origin, size=size, root=bytes(32), reason="key-lost")
    sink.take(log.say(wrong))
    put_voucher(sink, Found(log.origin, 0), proof / "voucher-1")
    done = verify(meterfabric, sink, proof)
    assert done.code == 1
    assert said in done.out


def test_a_record_vouches_for_nothing(sink: MadeSink, meterfabric: Command, tmp_path: Path) -> None:
    old, new = vouched(sink)
    sink.take(old, new.add([event(70)]))
    proof = tmp_path / "proof"
    assert prove(meterfabric, sink, 2, proof).code == 0
    put_voucher(sink, Found(new.origin, 1), proof / "voucher-1")
    assert "notice" in verify(meterfabric, sink, proof).out


def put_voucher(sink: MadeSink, found: Found, place: Path) -> None:
    """Put the proof of this leaf, true in itself, where a voucher is to stand."""
    with open_evidence(sink.url) as evidence:
        part = proof_of(evidence, found).record
    (place / "continues.notice").write_bytes(part.leaf)
    (place / "continues.tlog-proof").write_bytes(part.proof)
    (place / "producer.pem").write_bytes(part.producer)
    (place / "sink.pem").write_bytes(part.sink)
