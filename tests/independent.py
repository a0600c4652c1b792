"""A proof verified without any code of ours: the standards' text in a few lines of hashlib, and the openssl program.

RFC 6962 for hashes, RFC 9162 section 2.1.3.2 for the path, c2sp.org/signed-note and tlog-cosignature for what is
signed, RFC 5280 (openssl) for certificates.
"""

import base64
import hashlib
import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Shown:
    """What the proof shows."""

    origin: str
    index: int
    first: int
    size: int
    time: int
    producer: str
    sink: str


class OpenSsl:
    """The program, with a folder for its files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def check_chain(self, chain: Path, trust: Path, at: int) -> None:
        """Raises CalledProcessError where the chain wasn't valid then."""
        self._run("verify", "-CAfile", trust, "-untrusted", chain, "-attime", at, "-purpose", "any", chain)

    def public_key(self, chain: Path) -> bytes:
        """The leaf's raw Ed25519 key."""
        return self._raw(self._run("x509", "-in", chain, "-noout", "-pubkey"))

    def bare_key(self, path: Path) -> bytes:
        """The raw Ed25519 key of a public key in PEM."""
        return self._raw(path.read_bytes())

    @staticmethod
    def _raw(pem: bytes) -> bytes:
        der = subprocess.run(
            ["openssl", "pkey", "-pubin", "-outform", "DER"], input=pem, stdout=subprocess.PIPE, check=True
        ).stdout
        assert der[:12] == bytes.fromhex("302a300506032b6570032100")  # RFC 8410: Ed25519
        return der[12:]

    def uri(self, chain: Path) -> str:
        """The leaf's one name."""
        text = self._run("x509", "-in", chain, "-noout", "-ext", "subjectAltName").decode()
        (uri,) = re.findall(r"URI:(\S+)", text)
        return str(uri)

    def check_signature(self, key: bytes, message: bytes, signature: bytes) -> None:
        """Raises CalledProcessError where it doesn't hold."""
        der, said, signed = (self._folder / name for name in ("key.der", "message", "signature"))
        der.write_bytes(bytes.fromhex("302a300506032b6570032100") + key)
        said.write_bytes(message)
        signed.write_bytes(signature)
        key_words = ("-pubin", "-inkey", der, "-keyform", "DER")
        self._run("pkeyutl", "-verify", *key_words, "-rawin", "-in", said, "-sigfile", signed)

    @staticmethod
    def _run(*words: object) -> bytes:
        return subprocess.run(["openssl", *map(str, words)], capture_output=True, check=True).stdout


@dataclass(frozen=True)
class _Proof:
    """A tlog-proof's parts as the standard names them; `body` is the checkpoint's text without its last newline."""

    index: int
    path: list[bytes]
    body: str
    signatures: dict[str, bytes]

    @classmethod
    def read(cls, file: Path) -> "_Proof":
        head, _, note = file.read_text().partition("\n\n")
        kind, index_line, *path = head.split("\n")
        assert kind == "c2sp.org/tlog-proof@v1"
        body, _, signature_lines = note.partition("\n\n")
        signatures = {}
        for line in signature_lines.splitlines():
            dash, name, value = line.split(" ")
            assert dash == "—"
            signatures[name] = base64.b64decode(value)
        return cls(int(index_line.removeprefix("index ")), list(map(base64.b64decode, path)), body, signatures)

    @property
    def text(self) -> bytes:
        return (self.body + "\n").encode()

    @property
    def origin(self) -> str:
        return self.body.split("\n")[0]

    @property
    def size(self) -> int:
        return int(self.body.split("\n")[1])

    @property
    def first(self) -> int:
        return int(self.body.split("\n")[3].removeprefix("first "))

    def check_log_signature(self, openssl: OpenSsl, key: bytes) -> None:
        """The log's own, and that the log is named for its key."""
        hashed = base64.b32encode(hashlib.sha256(key).digest()[:16]).decode().rstrip("=").lower()
        assert self.origin.endswith("/" + hashed)
        signature = self.signatures[self.origin]
        assert signature[:4] == hashlib.sha256(self.origin.encode() + b"\n\x01" + key).digest()[:4]
        openssl.check_signature(key, self.text, signature[4:])

    def check_path(self, leaf: bytes) -> None:
        """RFC 9162 section 2.1.3.2."""
        value = hashlib.sha256(b"\0" + leaf).digest()
        node, last = self.index, self.size - 1
        for sibling in self.path:
            assert last
            if node & 1 or node == last:
                value = hashlib.sha256(b"\1" + sibling + value).digest()
                while not node & 1 and node:
                    node, last = node >> 1, last >> 1
            else:
                value = hashlib.sha256(b"\1" + value + sibling).digest()
            node, last = node >> 1, last >> 1
        assert not last
        assert value == base64.b64decode(self.body.split("\n")[2])


def verify_proof(proof: Path, trust: Path, scratch: Path) -> Shown:
    """Verify the folder that `prove` wrote. Raises AssertionError or CalledProcessError where it doesn't hold."""
    return _verify(proof, "record.json", "record.tlog-proof", trust, OpenSsl(scratch))


def verify_vouched_proof(proof: Path, trust: Path, scratch: Path) -> Shown:
    """The same for a record whose log had no certificate and has one voucher."""
    openssl = OpenSsl(scratch)
    voucher = _verify(proof / "voucher-1", "continues.notice", "continues.tlog-proof", trust, openssl)
    said = json.loads((proof / "voucher-1" / "continues.notice").read_bytes().removeprefix(b"!"))
    assert (said["notice"], said["log"]) == ("continues", voucher.origin)
    record, leaf = _Proof.read(proof / "record.tlog-proof"), (proof / "record.json").read_bytes()
    key = openssl.bare_key(proof / "producer.pem")
    record.check_log_signature(openssl, key)
    time, sink = _cosigned(record, proof / "sink.pem", voucher.origin.split("/")[0], trust, openssl)
    assert record.first <= record.index < record.size
    record.check_path(leaf)
    # The word of the same pod, about this log, and what was shown is of the log that ends there.
    assert said["previous"] == record.origin
    assert record.origin.split("/")[:3] == voucher.origin.split("/")[:3]
    end = _Proof.read(proof / "end.tlog-proof") if said["size"] != record.size else record
    end.check_log_signature(openssl, key)
    end.check_path(leaf)
    assert (end.origin, end.index, end.size) == (record.origin, record.index, said["size"])
    assert base64.b64decode(end.body.split("\n")[2]) == base64.b64decode(said["root"])
    return Shown(record.origin, record.index, record.first, record.size, time, voucher.producer, sink)


def _verify(folder: Path, leaf: str, file: str, trust: Path, openssl: OpenSsl) -> Shown:
    proof = _Proof.read(folder / file)
    # Who: an origin ends in the hash of its key, a certificate binds the key to the pod.
    producer = openssl.uri(folder / "producer.pem")
    _, _, _, _, fabric, _, namespace, _, _, _, pod, _, _ = producer.split("/")
    assert proof.origin.split("/")[:3] == [fabric, namespace, pod]
    proof.check_log_signature(openssl, openssl.public_key(folder / "producer.pem"))
    time, sink = _cosigned(proof, folder / "sink.pem", fabric, trust, openssl)
    openssl.check_chain(folder / "producer.pem", trust, time)
    # The leaf is of that very batch.
    assert proof.first <= proof.index < proof.size
    proof.check_path((folder / leaf).read_bytes())
    return Shown(proof.origin, proof.index, proof.first, proof.size, time, producer, sink)


def _cosigned(proof: _Proof, chain: Path, fabric: str, trust: Path, openssl: OpenSsl) -> tuple[int, str]:
    """The sink's signature over the checkpoint and its time; that time and the sink's name."""
    sink = openssl.uri(chain)
    assert sink.split("/")[3:6] == ["fabric", fabric, "sink"]
    name, key = f"{fabric}/sink/{sink.split('/')[-1]}", openssl.public_key(chain)
    signature = proof.signatures[name]
    assert signature[:4] == hashlib.sha256(name.encode() + b"\n\x04" + key).digest()[:4]
    time = int.from_bytes(signature[4:12], "big")
    openssl.check_signature(key, f"cosignature/v1\ntime {time}\n".encode() + proof.text, signature[12:])
    openssl.check_chain(chain, trust, time)
    return time, sink
