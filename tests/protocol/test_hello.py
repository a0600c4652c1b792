from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from meterfabric_protocol.hello import Hello, HelloBody, HelloError, decode_hello, sign_hello, verify_hello
from meterfabric_protocol.identity import ChainVerifier, Refusal, TrustBundle, origin
from tests.pki import DAY, FABRIC, NOW, SINK, Authority, raw

ROOT = Authority()
VERIFIER = ChainVerifier(TrustBundle(ROOT.pem))
KEY = Ed25519PrivateKey.generate()
CHAIN = ROOT.chain(KEY)
CLIENT = b"c" * 32
RELAY = b"r" * 32
BODY = HelloBody(
    version=1,
    role="producer",
    name=origin(FABRIC, "shop", "web-0", raw(KEY)),
    client_curve=CLIENT,
    relay_curve=RELAY,
    nonce=b"n" * 16,
    worker="",
    window=1 << 20,
    issued=int(NOW.timestamp()),
)


def judge(
    encoded: bytes, signature: bytes, chain: bytes = CHAIN, *, client: bytes = CLIENT, at: datetime = NOW
) -> Hello:
    return verify_hello(
        encoded, signature, chain, client_curve=client, relay_curve=RELAY, verifier=VERIFIER, at=at, fabric=FABRIC
    )


def reason(*arguments: Any, **named: Any) -> str:
    with pytest.raises(Refusal) as caught:
        judge(*arguments, **named)
    return caught.value.reason


def signed(key: Ed25519PrivateKey = KEY, **changes: Any) -> tuple[bytes, bytes]:
    return sign_hello(msgspec.structs.replace(BODY, **changes), key)


def test_a_producers_hello_opens_a_session_for_its_identity() -> None:
    hello = judge(*signed())
    assert hello.body == BODY
    assert hello.identity.name == BODY.name


def test_a_sink_workers_hello_opens_a_session() -> None:
    hello = judge(*signed(role="sink", name=f"{FABRIC}/sink/billing", worker="worker-1"), ROOT.chain(KEY, SINK))
    assert hello.identity.role == "sink"
    assert hello.body.worker == "worker-1"


def test_a_hello_without_a_certificate_is_refused() -> None:
    assert reason(*signed(), b"") == "no-certificate"


def test_a_certificates_own_failure_is_the_reason() -> None:
    assert reason(*signed(), at=NOW + 2 * DAY) == "expired"
    assert reason(*signed(), Authority().chain(KEY)) == "unknown-authority"
    assert reason(*signed(role="sink")) == "wrong-role"
    foreign = ROOT.chain(KEY, SINK.replace(FABRIC, "metering.other"))
    assert reason(*signed(role="sink"), foreign) == "wrong-fabric"


def test_a_hello_replayed_over_another_curve_key_is_refused() -> None:
    assert reason(*signed(), client=b"x" * 32) == "replayed"


def test_a_hello_carried_to_another_relay_is_refused() -> None:
    assert reason(*signed(relay_curve=b"o" * 32)) == "other-relay"


def test_a_hello_in_another_name_is_refused() -> None:
    assert reason(*signed(name=origin(FABRIC, "shop", "web-1", raw(KEY)))) == "wrong-name"


def test_a_hello_signed_by_another_key_is_refused() -> None:
    assert reason(*signed(Ed25519PrivateKey.generate())) == "bad-signature"
    encoded, signature = signed()
    assert reason(encoded, signature[:-1]) == "bad-signature"
    assert reason(encoded, b"") == "bad-signature"


def test_the_signature_covers_the_label_so_it_is_good_for_nothing_else() -> None:
    encoded, _ = signed()
    assert reason(encoded, KEY.sign(encoded)) == "bad-signature"


def test_a_hello_from_far_outside_the_present_is_stale() -> None:
    judge(*signed(issued=BODY.issued - 3600))
    for distance in (timedelta(hours=25), -timedelta(hours=25)):
        assert reason(*signed(issued=BODY.issued + int(distance.total_seconds()))) == "stale"


def test_an_unknown_version_is_refused_naming_what_is_spoken() -> None:
    encoded, _ = signed(version=2)
    with pytest.raises(HelloError, match="version 2 came, this release speaks 1") as caught:
        decode_hello(encoded)
    assert caught.value.reason == "version"
    later = msgspec.msgpack.encode([9, {"quite": "different"}])
    assert reason(later, b"") == "version"


@pytest.mark.parametrize(
    "changes",
    [
        {"client_curve": b"c"},
        {"relay_curve": b"r" * 33},
        {"nonce": b""},
        {"worker": "w" * 64},
        {"window": -1},
        {"issued": -1},
        {"role": "relay"},
        {"name": "n" * 2000},
    ],
)
def test_a_field_out_of_bounds_is_malformed(changes: dict[str, Any]) -> None:
    assert reason(*signed(**changes)) == "malformed"


def test_a_field_more_or_less_is_malformed() -> None:
    fields = list(msgspec.structs.astuple(BODY))
    for other in (fields[:-1], [*fields, 1]):
        assert reason(msgspec.msgpack.encode(other), b"") == "malformed"


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda tail: b"\x99\x01" + tail))
def test_any_bytes_are_a_hello_or_refused(encoded: bytes) -> None:
    with pytest.raises(HelloError):
        decode_hello(encoded)


@given(st.data())
def test_a_hello_with_any_byte_changed_is_refused(data: st.DataObject) -> None:
    encoded, signature = signed()
    whole = bytearray(encoded + signature)
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    reason(bytes(whole[: len(encoded)]), bytes(whole[len(encoded) :]))
