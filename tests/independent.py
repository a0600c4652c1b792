"""A proof verified without any code of ours: the standards' text in a few lines of hashlib, and the openssl program.

RFC 6962 for hashes, RFC 9162 section 2.1.3.2 for the path, c2sp.org/signed-note and tlog-cosignature for what is
signed, RFC 5280 (openssl) for certificates.
"""

import base64
import hashlib
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
        pem = self._run("x509", "-in", chain, "-noout", "-pubkey")
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


def verify_proof(proof: Path, trust: Path, scratch: Path) -> Shown:
    """Verify the folder that `prove` wrote. Raises AssertionError or CalledProcessError where it doesn't hold."""
    openssl = OpenSsl(scratch)
    head, _, note = (proof / "record.tlog-proof").read_text().partition("\n\n")
    kind, index_line, *path = head.split("\n")
    assert kind == "c2sp.org/tlog-proof@v1"
    index = int(index_line.removeprefix("index "))
    body, _, signature_lines = note.partition("\n\n")
    text = (body + "\n").encode()
    origin, size, root, extension = body.split("\n")
    first = int(extension.removeprefix("first "))
    signatures = {}
    for line in signature_lines.splitlines():
        dash, name, value = line.split(" ")
        assert dash == "—"
        signatures[name] = base64.b64decode(value)
    # Who: an origin ends in the hash of its key, a certificate binds the key to the pod.
    producer_key = openssl.public_key(proof / "producer.pem")
    hashed = base64.b32encode(hashlib.sha256(producer_key).digest()[:16]).decode().rstrip("=").lower()
    assert origin.endswith("/" + hashed)
    producer, sink = openssl.uri(proof / "producer.pem"), openssl.uri(proof / "sink.pem")
    _, _, _, _, fabric, _, namespace, _, _, _, pod, _, _ = producer.split("/")
    assert origin == f"{fabric}/{namespace}/{pod}/{hashed}"
    assert sink.split("/")[3:6] == ["fabric", fabric, "sink"]
    name = f"{fabric}/sink/{sink.split('/')[-1]}"
    sink_key = openssl.public_key(proof / "sink.pem")
    # The producer's signature over the checkpoint, the sink's over the checkpoint and its time.
    assert signatures[origin][:4] == hashlib.sha256(origin.encode() + b"\n\x01" + producer_key).digest()[:4]
    openssl.check_signature(producer_key, text, signatures[origin][4:])
    assert signatures[name][:4] == hashlib.sha256(name.encode() + b"\n\x04" + sink_key).digest()[:4]
    time = int.from_bytes(signatures[name][4:12], "big")
    openssl.check_signature(sink_key, f"cosignature/v1\ntime {time}\n".encode() + text, signatures[name][12:])
    openssl.check_chain(proof / "producer.pem", trust, time)
    openssl.check_chain(proof / "sink.pem", trust, time)
    # The record is that leaf, of that very batch.
    assert first <= index < int(size)
    value = hashlib.sha256(b"\0" + (proof / "record.json").read_bytes()).digest()
    node, last = index, int(size) - 1
    for sibling in map(base64.b64decode, path):
        assert last
        if node & 1 or node == last:
            value = hashlib.sha256(b"\1" + sibling + value).digest()
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            value = hashlib.sha256(b"\1" + value + sibling).digest()
        node, last = node >> 1, last >> 1
    assert not last
    assert value == base64.b64decode(root)
    return Shown(origin, index, first, int(size), time, producer, sink)
