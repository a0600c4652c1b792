"""A proof of one record: made from the sink, verified with nothing but the trust bundle, worthless once altered."""

import io
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from meterfabric_cli.errors import CommandError
from meterfabric_cli.main import main
from meterfabric_cli.proof_folder import ProofFiles
from tests.cli.made_sink import MadeSink, event
from tests.cli.running import Command, Done
from tests.pki import Authority

STRANGE = '{"specversion":"1.0","id":"a\\u0000b","source":"//meter","type":"t","data":{"x":1e999999, "y":"\\ud800"}}'


def prove(meterfabric: Command, sink: MadeSink, event_id: str, out: Path) -> Done:
    return meterfabric("prove", "--sink", sink.url, "--source", "//meter", "--id", event_id, "--out", out)


def test_each_record_of_a_log_can_be_proven(any_sink: MadeSink, meterfabric: Command, tmp_path: Path) -> None:
    log = any_sink.log().open().records(7).records(1).records(4)
    any_sink.take(log)
    for index in (1, 4, 7, 8, 12):
        out = tmp_path / f"proof-{index}"
        # Events are numbered by the leaf at which their batch begins.
        done = prove(meterfabric, any_sink, f"event-{index}", out)
        assert (done.code, done.out) == (0, f"{out}: proof of leaf {index} of {log.origin}\n")
        assert sorted(path.name for path in out.iterdir()) == [
            "producer.pem",
            "record.json",
            "record.tlog-proof",
            "sink.pem",
        ]
        assert (out / "record.json").read_bytes() == event(index)
        done = meterfabric("verify", out, "--trust", any_sink.trust)
        assert done.code == 0
        assert done.out.splitlines()[-1] == "holds"
        assert "/ns/shop/sa/web/pod/web-0/" in done.out
        assert "2026-03-01 12:00:00Z by spiffe://example.org/fabric/metering.main/sink/billing" in done.out
        assert f"id=event-{index}" in done.out


def test_a_receipt_of_a_key_that_was_replaced_proves_as_before(
    sink: MadeSink, meterfabric: Command, tmp_path: Path
) -> None:
    sink.take(sink.log("web-0").open().records(3))
    sink.key = Ed25519PrivateKey.generate()
    sink.take(sink.log("web-1").open())
    assert prove(meterfabric, sink, "event-1", tmp_path / "proof").code == 0
    assert meterfabric("verify", tmp_path / "proof", "--trust", sink.trust).code == 0


def test_a_record_that_no_column_holds_is_found_and_proven(
    any_sink: MadeSink, meterfabric: Command, tmp_path: Path
) -> None:
    any_sink.take(any_sink.log().open().add([event(1), STRANGE.encode()]))
    done = prove(meterfabric, any_sink, "a\0b", tmp_path / "proof")
    assert done.code == 0
    assert (tmp_path / "proof" / "record.json").read_bytes() == STRANGE.encode()
    assert meterfabric("verify", tmp_path / "proof", "--trust", any_sink.trust).code == 0


def test_a_proof_on_standard_output_is_the_same_folder_as_an_archive(
    sink: MadeSink, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    sink.take(sink.log().open().records(3))
    assert main(["prove", "--sink", sink.url, "--source", "//meter", "--id", "event-1", "--out", "-"]) == 0
    packed, told = capfdbinary.readouterr()
    assert told.startswith(b"-: proof of leaf 1 of ")
    ProofFiles.unpack(packed).write(tmp_path / "unpacked")
    assert main(["verify", str(tmp_path / "unpacked"), "--trust", str(sink.trust)]) == 0
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        assert archive.extractfile("record.json").read() == event(1)  # type: ignore[union-attr]


def test_what_is_no_archive_of_a_proof_is_told_and_writes_nowhere_else(tmp_path: Path) -> None:
    for name in ("../outside", "record.json"):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            archive.addfile(tarfile.TarInfo(name))
        with pytest.raises(CommandError):
            ProofFiles.unpack(packed.getvalue())
    with pytest.raises(CommandError, match="what came is no proof"):
        ProofFiles.unpack(b"nothing")


def test_what_isnt_there_has_no_proof(sink: MadeSink, meterfabric: Command, tmp_path: Path) -> None:
    sink.take(sink.log().open().records(3))
    assert prove(meterfabric, sink, "event-77", tmp_path / "proof").code == 1
    assert not (tmp_path / "proof").exists()
    meterfabric("erase", "--sink", sink.url, "--source", "//meter", "--id", "event-2")
    assert prove(meterfabric, sink, "event-2", tmp_path / "proof").code == 1
    assert prove(meterfabric, sink, "event-3", tmp_path / "proof").code == 0


def test_an_id_that_came_twice_is_proven_once_and_the_other_is_told(
    sink: MadeSink, meterfabric: Command, tmp_path: Path
) -> None:
    sink.take(sink.log().open().add([event(1)]).add([event(1)]))
    done = prove(meterfabric, sink, "event-1", tmp_path / "proof")
    assert done.code == 0
    assert "also at leaf 2" in done.out
    assert "--which 2" in done.out
    words = ("prove", "--sink", sink.url, "--source", "//meter", "--id", "event-1", "--out", tmp_path / "second")
    done = meterfabric(*words, "--which", 2)
    assert done.code == 0
    assert "proof of leaf 2 of" in done.out
    assert meterfabric("verify", tmp_path / "second", "--trust", sink.trust).code == 0
    done = meterfabric(*words, "--which", 3)
    assert (done.code, done.out) == (2, "")
    assert "--which 3: 2 records have this source and id" in done.err
    assert meterfabric(*words, "--which", 0).code == 2


def swapped(name: str, other: str) -> Callable[[Path, Path], None]:
    """Put a file of the other proof in the place of one of this."""
    return lambda proof, second: shutil.copy(second / other, proof / name) and None


def edited(name: str, old: str, new: str) -> Callable[[Path, Path], None]:
    def edit(proof: Path, _: Path) -> None:
        text = (proof / name).read_text()
        assert old in text
        (proof / name).write_text(text.replace(old, new, 1))

    return edit


def without_cosignature(proof: Path, _: Path) -> None:
    path = proof / "record.tlog-proof"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (edited("record.json", '"value":2', '"value":9'), "leads to another root"),
        (edited("record.tlog-proof", "index 2", "index 3"), "leads to another root"),
        (edited("record.tlog-proof", "index 2", "index 0"), "outside the batch [1, 4)"),
        (edited("record.tlog-proof", "first 1", "first 0"), "signature"),
        (edited("record.tlog-proof", "\n4\n", "\n5\n"), "signature"),
        (swapped("record.json", "record.json"), "leads to another root"),
        (swapped("record.tlog-proof", "record.tlog-proof"), "wrong-origin"),
        (swapped("producer.pem", "producer.pem"), "wrong-origin"),
        (swapped("producer.pem", "sink.pem"), "wrong-role"),
        (swapped("sink.pem", "producer.pem"), "wrong-role"),
        (without_cosignature, "no cosignature stands beside"),
        (
            edited("sink.pem", "BEGIN CERTIFICATE", "BEGIN NOTHING"),
            "sink.pem: malformed: the chain holds no",
        ),
    ],
)
def test_a_proof_that_was_altered_does_not_hold(
    sink: MadeSink, meterfabric: Command, tmp_path: Path, change: Callable[[Path, Path], None], said: str
) -> None:
    other = sink.log("web-1").open().add([event(50), event(51)])
    sink.take(sink.log().open().records(3), other)
    proof, second = tmp_path / "proof", tmp_path / "second"
    prove(meterfabric, sink, "event-2", proof)
    prove(meterfabric, sink, "event-50", second)
    change(proof, second)
    done = meterfabric("verify", proof, "--trust", sink.trust)
    assert done.code == 1
    assert done.out.startswith("DOES NOT HOLD: ")
    assert said in done.out


def test_a_notice_is_no_record(sink: MadeSink, meterfabric: Command, tmp_path: Path) -> None:
    sink.take(sink.log().open().records(3))
    prove(meterfabric, sink, "event-2", tmp_path)
    (tmp_path / "record.json").write_bytes(b'!{"notice":"opened"}')
    assert "a notice" in meterfabric("verify", tmp_path, "--trust", sink.trust).out


def test_another_trust_bundle_believes_nothing(sink: MadeSink, meterfabric: Command, tmp_path: Path) -> None:
    sink.take(sink.log().open().records(3))
    prove(meterfabric, sink, "event-2", tmp_path)
    sink.trust.write_bytes(Authority().pem)
    assert "unknown-authority" in meterfabric("verify", tmp_path, "--trust", sink.trust).out


def test_a_proof_that_isnt_there_is_an_error(sink: MadeSink, meterfabric: Command, tmp_path: Path) -> None:
    done = meterfabric("verify", tmp_path / "none", "--trust", sink.trust)
    assert (done.code, done.out) == (2, "")
    assert "record.json: No such file" in done.err


def test_every_command_shows_an_example(meterfabric: Command) -> None:
    for name in ("local", "send", "status", "audit", "prove", "verify", "erase"):
        done = meterfabric(name, "--help")
        assert done.code == 0
        assert f"example:\n  meterfabric {name} " in done.out
    assert "exit codes: 0 done" in meterfabric("--help").out
