"""The audit: whole where everything is there, and otherwise what is wrong, where."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from meterfabric_protocol import notice
from meterfabric_protocol.merkle import EMPTY_ROOT
from meterfabric_sink.destination.open import local_path
from tests.cli.made_sink import MadeSink, event
from tests.cli.running import Command, Done
from tests.pki import Authority

WEEKS = 86_400 * 30


def audit(meterfabric: Command, sink: MadeSink, *more: object) -> Done:
    # The made sink's time is in the past: its logs are not to count as abandoned for that.
    return meterfabric("audit", "--sink", sink.url, "--trust", sink.trust, "--abandoned-after", "999999h", *more)


def change(sink: MadeSink, sql: str, *parameters: object) -> None:
    """Alter the database behind the sink's back."""
    with closing(sqlite3.connect(local_path(sink.url))) as database, database:
        assert database.execute(sql, parameters).rowcount > 0


def findings(done: Done) -> list[str]:
    return [line for line in done.out.splitlines() if line.startswith("wrong: ")]


def test_a_sink_that_holds_everything_is_whole(any_sink: MadeSink, meterfabric: Command) -> None:
    one, two = any_sink.log("web-0").open().records(5).records(3).close(), any_sink.log("web-1").open().records(2)
    assert set(any_sink.take(one, two)) == {"receipt"}
    done = audit(meterfabric, any_sink)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[-1].startswith("whole: ")
    assert "metering.main/sink/billing: 2 logs of 2 producers, 10 records held" in done.out
    books = audit(meterfabric, any_sink, "--json").json
    assert books["whole"] is True
    assert [(each["pod"], each["records"]["delivered"]) for each in books["producers"]] == [("web-0", 8), ("web-1", 2)]
    assert [log["closed"] for each in books["producers"] for log in each["logs"]] == [True, False]


def test_an_empty_sink_is_whole(sink: MadeSink, meterfabric: Command) -> None:
    sink.take()
    done = audit(meterfabric, sink)
    assert done.code == 0
    assert "0 logs of 0 producers" in done.out


def test_an_altered_record_is_found_in_its_batch(any_sink: MadeSink, meterfabric: Command) -> None:
    log = any_sink.log().open().records(3).add([event(100, subject="alice")]).records(2)
    any_sink.take(log)
    alter(any_sink.url, log.origin, b"alice", b"malice"[:5])
    done = audit(meterfabric, any_sink)
    assert done.code == 1
    assert findings(done) == [
        f"wrong: {log.origin} leaves [4, 5): altered: the stored bytes don't hash to the signed root"
    ]
    assert done.out.splitlines()[-1].startswith("NOT WHOLE")


def alter(url: str, origin: str, old: bytes, new: bytes) -> None:
    """Put other bytes of the same length in a record's place."""
    scheme, _, path = url.partition(":")
    if scheme == "file":
        segment = Path(path, "records-000001.ndjson")
        content = segment.read_bytes()
        assert old in content
        segment.write_bytes(content.replace(old, new))
    elif scheme == "sqlite":
        with closing(sqlite3.connect(path)) as database, database:
            sql = "UPDATE records SET raw = CAST(replace(raw, ?, ?) AS BLOB) WHERE instr(raw, ?)"
            assert database.execute(sql, (old.decode(), new.decode(), old)).rowcount == 1
    else:
        import psycopg

        with psycopg.connect(url) as server:
            sql = b"UPDATE meterfabric.records SET raw = overlay(raw PLACING %s FROM position(%s IN raw))"
            assert server.execute(sql + b" WHERE position(%s IN raw) > 0", (new, old, old)).rowcount == 1


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("DELETE FROM records WHERE idx = 2", "2 leaves are stored of 3"),
        ("DELETE FROM batches WHERE first = 1", "its batches don't follow each other: [4, 6) at 1"),
        ("DELETE FROM batches WHERE first = 4", "its position row says 6 leaves, its batches make 4"),
        ("UPDATE batches SET cosignature = NULL WHERE first = 1", "held without a receipt"),
        ("UPDATE batches SET time = time + 1 WHERE first = 1", "its receipt says"),
        (
            "UPDATE batches SET cosignature = (SELECT cosignature FROM batches WHERE first = 4) WHERE first = 1",
            "the sink's receipt",
        ),
        ("UPDATE batches SET note = (SELECT note FROM batches WHERE first = 4) WHERE first = 1", "checkpoint"),
        ("UPDATE batches SET roots = zeroblob(length(roots)) WHERE first = 1", "doesn't lead to its checkpoint's root"),
        ("UPDATE logs SET records = records - 1", "its position row counts other"),
        ("UPDATE logs SET public_key = zeroblob(32)", "the key stored for it is not the one it is named for"),
        ("UPDATE logs SET head_note = (SELECT note FROM batches WHERE first = 1)", "the newest checkpoint heard"),
        ("UPDATE logs SET closed = 1", "disagree on whether it is closed"),
        ("UPDATE logs SET final_size = 4, vouched_by = 'nobody'", "no later log says so"),
        ("DELETE FROM notices", "0 leaves are stored of 1"),
        ("INSERT INTO notices SELECT origin, 5, body FROM notices", "2 notices are stored"),
        ("INSERT INTO records(origin, idx, raw) SELECT origin, 77, raw FROM records WHERE idx = 1", "has 6 rows of"),
        ("DELETE FROM sink_certificates", "the sink keeps no certificate of its own"),
        ("UPDATE certificates SET chain = CAST('none' AS BLOB)", "NOT WHOLE"),
    ],
)
def test_whatever_is_altered_is_found(sink: MadeSink, meterfabric: Command, sql: str, said: str) -> None:
    sink.take(sink.log().open().records(3).records(2))
    change(sink, sql)
    if "certificates SET" in sql:
        change(sink, "UPDATE logs SET chain = CAST('none' AS BLOB)")
    done = audit(meterfabric, sink)
    assert done.code == 1
    assert said in done.out


def test_another_bundle_vouches_for_nobody(sink: MadeSink, meterfabric: Command) -> None:
    sink.take(sink.log().open().records(3))
    sink.trust.write_bytes(Authority().pem)
    done = audit(meterfabric, sink)
    assert done.code == 1
    assert "no root of the bundle signed" in done.out


def test_expired_damaged_lost_and_unowed_records_are_told_apart(sink: MadeSink, meterfabric: Command) -> None:
    log = sink.log().open()
    for _ in range(5):
        log.records(2, stub=True)
    log.say(
        notice.SinkJoined(log=log.origin, sink="billing", size=3),
        notice.Expired(log=log.origin, sink="billing", ranges=((3, 5),), reason="age"),
        notice.Damaged(log=log.origin, ranges=((5, 7),), cause="hash"),
        notice.LostBySink(log=log.origin, sink="billing", ranges=((7, 9),)),
        notice.Expired(log=log.origin, sink="other", ranges=((9, 11),), reason="age"),
    )
    log.records(1)
    assert sink.take(log).count("passed") == 5
    done = audit(meterfabric, sink, "--json")
    (producer,) = done.json["producers"]
    shown = {name: count for name, count in producer["records"].items() if count}
    assert shown == {"delivered": 1, "expired": 2, "damaged": 2, "lost": 2, "unowed": 2, "unexplained": 2}
    assert done.code == 1
    assert [each["problem"] for each in done.json["findings"]] == ["passed over, and no notice that is held says why"]


def test_what_was_heard_of_and_never_came_is_pending_or_abandoned(sink: MadeSink, meterfabric: Command) -> None:
    log = sink.log().open().records(3)
    sink.take(log)
    sink.hear(log.records(4))
    (producer,) = audit(meterfabric, sink, "--json").json["producers"]
    assert (producer["records"]["delivered"], producer["records"]["pending"]) == (3, 4)
    done = meterfabric("audit", "--sink", sink.url, "--trust", sink.trust, "--json")
    (producer,) = done.json["producers"]
    assert (producer["records"]["pending"], producer["records"]["abandoned"]) == (0, 4)
    assert done.code == 0


def test_an_erased_record_leaves_the_log_whole(any_sink: MadeSink, meterfabric: Command) -> None:
    log = any_sink.log().open().records(3)
    any_sink.take(log)
    done = meterfabric("erase", "--sink", any_sink.url, "--source", "//meter", "--id", "event-2", "--reason", "asked")
    assert (done.code, done.out) == (0, f"erased: leaf 2 of {log.origin}\n")
    again = meterfabric("erase", "--sink", any_sink.url, "--source", "//meter", "--id", "event-2")
    assert again.code == 1
    (producer,) = audit(meterfabric, any_sink, "--json").json["producers"]
    assert (producer["records"]["delivered"], producer["records"]["erased"]) == (3, 1)
    done = audit(meterfabric, any_sink)
    assert done.code == 0


def test_a_log_without_certificate_is_taken_on_a_later_logs_word(sink: MadeSink, meterfabric: Command) -> None:
    old, new = sink.log(enrolled=False).open().records(3), sink.log()
    said = notice.Continues(
        log=new.origin, previous=old.origin, size=old.size, root=old.frontier.root(), reason="key-lost"
    )
    new.say(said)
    sink.take(new)
    (producer,) = audit(meterfabric, sink, "--json").json["producers"]
    assert producer["records"]["pending"] == old.size
    assert sink.take(old) == ["receipt", "receipt"]
    done = audit(meterfabric, sink)
    assert done.code == 0
    assert f"alert: {old.origin}: received without a certificate, vouched for by {new.origin}" in done.out
    change(sink, "DELETE FROM batches WHERE origin = ?", new.origin)
    change(sink, "DELETE FROM notices WHERE origin = ?", new.origin)
    done = audit(meterfabric, sink)
    assert done.code == 1
    assert f"{old.origin} leaves [0, 4): no certificate when it was received" in done.out


def test_a_log_that_ends_elsewhere_than_named_is_found(sink: MadeSink, meterfabric: Command) -> None:
    old, new = sink.log().open().records(3), sink.log()
    sink.take(old)
    new.say(notice.Continues(log=new.origin, previous=old.origin, size=4, root=EMPTY_ROOT, reason="restart"))
    sink.take(new)
    done = audit(meterfabric, sink)
    assert done.code == 1
    assert "names another root as its end at 4" in done.out


def test_a_certificate_that_lapsed_before_the_receipt_is_found(sink: MadeSink, meterfabric: Command) -> None:
    sink.take(sink.log().open().records(3))
    # The receipts stay true, the trust bundle is of another time.
    sink.trust.write_bytes(Authority(key=sink.authority.key, not_after=sink.authority.not_before).pem)
    done = audit(meterfabric, sink)
    assert done.code == 1


def test_receipts_of_a_key_that_was_replaced_stay_true(sink: MadeSink, meterfabric: Command) -> None:
    sink.take(sink.log("web-0").open().records(3))
    sink.key = Ed25519PrivateKey.generate()
    sink.take(sink.log("web-1").open().records(3))
    # Both keys' certificates were valid at both times.
    assert audit(meterfabric, sink).code == 0


def test_what_cant_be_read_is_said_in_one_line(tmp_path: Path, sink: MadeSink, meterfabric: Command) -> None:
    sink.take()
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as database:
        database.execute("CREATE TABLE logs(origin)")
    files = MadeSink(f"file:{tmp_path / 'files'}", tmp_path)
    sink.trust.write_bytes(sink.authority.pem + files.authority.pem)
    files.take()
    for words, said in (
        (("--sink", f"sqlite:{tmp_path / 'none.db'}", "--trust", sink.trust), "no sink is here"),
        (("--sink", f"file:{tmp_path / 'none'}", "--trust", sink.trust), "no sink is here"),
        (("--sink", f"sqlite:{other}", "--trust", sink.trust), "is another program's database"),
        (("--sink", f"sqlite:{tmp_path / 'files' / 'index.db'}", "--trust", sink.trust), "has no table records"),
        (
            ("--sink", "postgresql://me:secret@127.0.0.1:1/x", "--trust", sink.trust),
            "postgresql://me:***@127.0.0.1:1/x",
        ),
        (("--sink", "ftp://x", "--trust", sink.trust), "expected file:DIR, sqlite:PATH or postgresql://"),
        (("--sink", sink.url, "--trust", tmp_path / "none.pem"), "No such file or directory"),
        (("--sink", sink.url, "--trust", __file__), "trust bundle"),
        (("--sink", sink.url), "--trust"),
        (("--sink", sink.url, "--trust", sink.trust, "--abandoned-after", "soon"), "'soon' is no duration"),
    ):
        done = meterfabric("audit", *words)
        assert done.code == 2
        assert done.out == ""
        assert done.err.count("\n") == 1
        assert said in done.err
        assert "secret" not in done.err


def test_a_fork_that_the_pod_itself_tells_of_is_an_alert_and_no_finding(sink: MadeSink, meterfabric: Command) -> None:
    old, first, second = sink.log().open().records(3), sink.log(), sink.log()
    common = old.frontier
    sink.take(old.records(2))
    # The spool was put back to leaf 4 and went on otherwise: its first word is of that other branch, its second isn't.
    first.say(notice.Continues(log=first.origin, previous=old.origin, size=6, root=EMPTY_ROOT, reason="restart"))
    second.say(
        notice.Continues(
            log=second.origin, previous=old.origin, size=4, root=common.root(), heard=6, reason="equivocation"
        )
    )
    sink.take(first)
    assert audit(meterfabric, sink).code == 1
    sink.take(second)
    done = audit(meterfabric, sink)
    assert done.code == 0, done.out


def test_a_database_that_cant_be_read_to_its_end_is_not_whole(sink: MadeSink, meterfabric: Command) -> None:
    sink.take(sink.log().open().records(3))
    change(sink, "UPDATE batches SET kind = 'nonsense' WHERE first = 1")
    done = audit(meterfabric, sink)
    assert done.code == 1
    assert "a row of batches is damaged" in done.out
    change(sink, "UPDATE logs SET head_size = -5")
    assert audit(meterfabric, sink).code == 1


def test_columns_are_held_against_the_bytes_where_asked(sink: MadeSink, meterfabric: Command) -> None:
    sink.take(sink.log().open().records(3))
    assert audit(meterfabric, sink, "--columns").code == 0
    change(sink, "UPDATE records SET data = '{\"value\":0}' WHERE idx = 2")
    # What was signed is unaltered; whoever bills by the column would still be misled.
    assert audit(meterfabric, sink).code == 0
    done = audit(meterfabric, sink, "--columns")
    assert done.code == 1
    assert "leaves [2, 3): its columns say other than its bytes do" in done.out
