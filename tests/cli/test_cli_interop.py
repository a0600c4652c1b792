"""A proof of ours, verified with tools that aren't: openssl and the standard's text in a few lines, and aics-tlog."""

import base64
import hashlib
import subprocess
from pathlib import Path

import aics_tlog
import pytest

from tests.cli.made_sink import WALL, MadeSink
from tests.cli.running import Command
from tests.independent import OpenSsl, verify_proof


@pytest.fixture
def proof(sink: MadeSink, meterfabric: Command, tmp_path: Path) -> Path:
    sink.take(sink.log().open().records(7).records(9).records(2))
    out = tmp_path / "proof"
    words = ("prove", "--sink", sink.url, "--source", "//meter", "--id", "event-11", "--out", out)
    assert meterfabric(*words).code == 0
    return out


def test_openssl_and_the_standards_text_verify_a_proof(proof: Path, sink: MadeSink, tmp_path: Path) -> None:
    shown = verify_proof(proof, sink.trust, tmp_path)
    assert shown.index == 11
    assert (shown.first, shown.size) == (8, 17)
    assert shown.time == WALL
    assert shown.producer == "spiffe://example.org/fabric/metering.main/ns/shop/sa/web/pod/web-0/uid/6a1f-22"
    assert shown.sink == "spiffe://example.org/fabric/metering.main/sink/billing"


def test_openssl_and_the_standards_text_refuse_an_altered_record(proof: Path, sink: MadeSink, tmp_path: Path) -> None:
    record = proof / "record.json"
    record.write_bytes(record.read_bytes().replace(b'"value":11', b'"value":12'))
    with pytest.raises(AssertionError):
        verify_proof(proof, sink.trust, tmp_path)


def test_openssl_refuses_another_fabrics_certificate(proof: Path, sink: MadeSink, tmp_path: Path) -> None:
    (proof / "sink.pem").write_bytes((proof / "producer.pem").read_bytes())
    with pytest.raises((AssertionError, subprocess.CalledProcessError)):
        verify_proof(proof, sink.trust, tmp_path)


def test_aics_tlog_verifies_a_proof(proof: Path, sink: MadeSink, tmp_path: Path) -> None:
    head, _, note = (proof / "record.tlog-proof").read_text().partition("\n\n")
    lines = head.split("\n")
    index, path = int(lines[1].removeprefix("index ")), [base64.b64decode(line) for line in lines[2:]]
    openssl = OpenSsl(tmp_path)
    origin = note.split("\n", 1)[0]
    log_key = aics_tlog.vkey_from_ed25519(origin, openssl.public_key(proof / "producer.pem"))
    sink_key = aics_tlog.cosignature_vkey("metering.main/sink/billing", openssl.public_key(proof / "sink.pem"))
    read = aics_tlog.parse_note(note)
    verdict = aics_tlog.verify_checkpoint(read, log_key, [sink_key], quorum=1, expected_origin=origin)
    assert verdict.ok, verdict.error
    stated = aics_tlog.parse_checkpoint(read.text)
    record = (proof / "record.json").read_bytes()
    assert aics_tlog.leaf_hash(record) == hashlib.sha256(b"\0" + record).digest()
    assert aics_tlog.verify_leaf_inclusion(record, index, stated.size, path, stated.root)
