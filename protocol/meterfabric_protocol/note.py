"""C2SP signed notes: a text, and lines beneath it by which keys signed it (c2sp.org/signed-note).

A note is read strictly: what can be written in two ways (base64 with stray bits, numbers with leading zeroes) is taken
in one way only, so nobody can make a second note of a signed one. Signatures by keys nobody asked about are ignored.
"""

import hashlib
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from . import ed25519
from .errors import BadSignature, Malformed

ED25519: Final = 0x01
"""Signature type of Ed25519 over the note's text."""

MAX_SIGNATURES: Final = 32
"""Most signature lines a note may have (the standard asks verifiers to take at least 16)."""

MAX_NAME_BYTES: Final = 255

KEY_ID_BYTES: Final = 4

_DASH: Final = "— ".encode()
_FORBIDDEN: Final = re.compile(rb"[\x00-\x09\x0b-\x1f]")
_NAME: Final = re.compile(r"[^\s+\x00-\x1f\ud800-\udfff]+")
_DECIMAL: Final = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line: the signer's name, the key's id (4 bytes) and what the key's algorithm made (n bytes)."""

    name: str
    key_id: bytes
    value: bytes

    def line(self) -> bytes:
        """The line as it stands in a note, with its newline."""
        return b"%b%b %b\n" % (_DASH, self.name.encode(), b64encode(self.key_id + self.value))

    @classmethod
    def parse(cls, line: bytes) -> Self:
        """The signature of one line, newline included. Raises Malformed."""
        if not line.startswith(_DASH) or not line.endswith(b"\n"):
            raise Malformed("signature line", "not an em dash, a space, a name, a space, base64 and a newline")
        name, _, value = decode_text("signature line", line[len(_DASH) : -1]).partition(" ")
        check_name("signature line", name)
        signature = decode_base64("signature line", value)
        if len(signature) <= KEY_ID_BYTES:
            raise Malformed("signature line", f"{len(signature)} bytes are too few for a key id and a signature")
        return cls(name, signature[:KEY_ID_BYTES], signature[KEY_ID_BYTES:])


@dataclass(frozen=True, slots=True)
class Note:
    """A note that was read, none of it verified: the text with its final newline, and all its signatures in order."""

    text: bytes
    signatures: tuple[Signature, ...]

    def encode(self) -> bytes:
        """The note's bytes."""
        return join_note(self.text, (signature.line() for signature in self.signatures))


def key_id(name: str, algorithm: int, public_key: bytes) -> bytes:
    """The 4 bytes by which a signature line tells which key made it (signed-note, "Signatures")."""
    return hashlib.sha256(b"%b\n%c%b" % (name.encode(), algorithm, public_key)).digest()[:KEY_ID_BYTES]


def parse_note(data: bytes, max_bytes: int) -> Note:
    """Read a note of at most `max_bytes` and MAX_SIGNATURES lines. Raises Malformed."""
    if len(data) > max_bytes:
        raise Malformed("note", f"{len(data)} bytes, at most {max_bytes}")
    decode_text("note", data)
    head, gap, tail = data.rpartition(b"\n\n")
    if not gap or not tail:
        raise Malformed("note", "no blank line between text and signatures, or no signatures")
    if not tail.endswith(b"\n"):
        raise Malformed("note", "the last line has no newline")
    lines = tail.split(b"\n")[:-1]
    if len(lines) > MAX_SIGNATURES:
        raise Malformed("note", f"{len(lines)} signatures, at most {MAX_SIGNATURES}")
    return Note(head + b"\n", tuple(Signature.parse(line + b"\n") for line in lines))


def join_note(text: bytes, lines: Iterable[bytes]) -> bytes:
    """The note of this text and these signature lines (each as `Signature.line` gives it)."""
    return text + b"\n" + b"".join(lines)


def add_signatures(note: bytes, lines: Iterable[bytes]) -> bytes:
    """The note with these signature lines after its own: cosignatures are added thus."""
    return note + b"".join(lines)


def sign_note(text: bytes, name: str, key: Ed25519PrivateKey) -> bytes:
    """The note of `text` (ending in a newline) signed with Ed25519 under `name`.

    Raises ValueError where text or name can't stand in a note.
    """
    if not text.endswith(b"\n"):
        raise ValueError("a note's text ends in a newline")
    try:
        decode_text("note", text)
        check_name("key name", name)
    except Malformed as error:
        raise ValueError(str(error)) from error
    signature = Signature(name, key_id(name, ED25519, key.public_key().public_bytes_raw()), key.sign(text))
    return join_note(text, (signature.line(),))


def verify_note(text: bytes, signatures: Iterable[Signature], name: str, public_key: bytes) -> None:
    """Check that the key (32 bytes, Ed25519) signed this text under this name, in exactly one of these signatures.

    Raises BadSignature.
    """
    signature = find_signature(signatures, name, key_id(name, ED25519, public_key))
    ed25519.verify(name, public_key, signature.value, text)


def find_signature(signatures: Iterable[Signature], name: str, key: bytes) -> Signature:
    """The one signature by the key with this name and id. Raises BadSignature unless there is exactly one."""
    found = [signature for signature in signatures if signature.key_id == key and signature.name == name]
    if len(found) != 1:
        raise BadSignature(name, f"{len(found)} signatures by key {key.hex()}, not 1")
    return found[0]


def encode_verifier_key(name: str, algorithm: int, public_key: bytes) -> str:
    """The text form of a public key that other tools take (signed-note, "Verifier keys")."""
    material = b64encode(bytes([algorithm]) + public_key).decode()
    return f"{name}+{key_id(name, algorithm, public_key).hex()}+{material}"


def decode_verifier_key(text: str) -> tuple[str, int, bytes]:
    """The (name, algorithm, public key) of a text form. Raises Malformed, also where the id isn't the key's."""
    name, _, rest = text.partition("+")
    check_name("verifier key", name)
    ident, _, encoded = rest.partition("+")
    material = decode_base64("verifier key", encoded)
    if len(material) <= 1:
        raise Malformed("verifier key", "no key material")
    if ident != key_id(name, material[0], material[1:]).hex():
        raise Malformed("verifier key", f"{ident!r} is not the key's id")
    return name, material[0], material[1:]


def check_name(what: str, name: str) -> None:
    """Check that a key may bear this name: some bytes, no space of any alphabet, no plus. Raises Malformed."""
    if not _NAME.fullmatch(name):
        raise Malformed(what, "no name, or one with a space, a plus or a control character")
    length = len(name.encode(errors="surrogatepass"))
    if length > MAX_NAME_BYTES:
        raise Malformed(what, f"a name of {length} bytes, at most {MAX_NAME_BYTES}")


def decode_text(what: str, data: bytes) -> str:
    """Bytes as the text a note may hold: UTF-8, no control character but newline. Raises Malformed."""
    if _FORBIDDEN.search(data):
        raise Malformed(what, "a control character")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Malformed(what, f"not UTF-8 at byte {error.start}") from error


def decode_base64(what: str, text: str) -> bytes:
    """Standard base64 (RFC 4648 section 4) in its one canonical spelling. Raises Malformed."""
    try:
        value = b64decode(text, validate=True)
    except ValueError as error:
        raise Malformed(what, "not base64") from error
    if b64encode(value).decode() != text:
        raise Malformed(what, "base64 with stray bits")
    return value


def decode_decimal(what: str, text: str) -> int:
    """A decimal number from 0 to 2**63 - 1 without leading zeroes. Raises Malformed."""
    if not _DECIMAL.fullmatch(text) or int(text) >= 2**63:
        raise Malformed(what, "not a decimal number from 0 to 2**63 - 1 without leading zeroes")
    return int(text)
