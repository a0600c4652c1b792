import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterfabric_protocol.errors import Malformed
from meterfabric_protocol.names import (
    Origin,
    Producer,
    Sink,
    cosigner,
    key_hash,
    key_hash_of,
    origin,
    parse_origin,
    parse_spiffe,
)

KEY = bytes(range(32))
LABELS = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)
PODS = st.lists(LABELS, min_size=1, max_size=11).map(".".join)


def test_an_origin_names_fabric_namespace_pod_and_key() -> None:
    name = origin("metering.main", "shop", "web-0", KEY)
    assert name == "metering.main/shop/web-0/mmg42klgyqzwneiskrelxms3j4"
    assert key_hash_of(name) == key_hash(KEY)
    assert parse_origin(name) == Origin("metering.main", "shop", "web-0", key_hash(KEY))


@given(LABELS, LABELS, LABELS, PODS, st.binary(min_size=32, max_size=32))
def test_an_origin_fits_a_note_and_reads_back(home: str, fabric: str, namespace: str, pod: str, key: bytes) -> None:
    name = origin(f"{home}.{fabric}", namespace, pod, key)
    assert len(name.encode()) <= 255
    assert not set(name) & set(" +\n\t")
    parsed = parse_origin(name)
    assert (parsed.fabric, parsed.namespace, parsed.key_hash) == (f"{home}.{fabric}", namespace, key_hash(key))


def test_the_longest_parts_still_fit() -> None:
    fabric = "a" * 31 + "." + "b" * 31
    pod = ".".join(["c" * 61] * 4)
    name = origin(fabric, "d" * 63, pod, KEY)
    assert len(name) == 255
    assert parse_origin(name).pod.startswith("c" * 61)


def test_long_pods_with_one_beginning_have_different_names() -> None:
    one, other = ("a" * 60 + "." + "b" * 60 + end for end in "xy")
    assert origin("m.f", "n", one, KEY) != origin("m.f", "n", other, KEY)


def test_no_pod_can_be_called_what_a_long_pods_name_is_cut_to() -> None:
    short = parse_origin(origin("m.f", "n", "a" * 120, KEY)).pod
    assert len(short) == 100
    with pytest.raises(Malformed, match="pod"):
        origin("m.f", "n", short, KEY)


@pytest.mark.parametrize(
    ("fabric", "namespace", "pod"),
    [
        ("main", "shop", "web-0"),
        ("m.f", "shop/x", "web-0"),
        ("m.f", "shop", "web 0"),
        ("m.f", "shop", "web+0"),
        ("m.f", "shop", "web\n"),
        ("m.f", "Shop", "web"),
        ("m.f", "", "web"),
        ("m.f", "s.hop", "web"),
        ("m." + "f" * 62, "shop", "web"),
    ],
)
def test_a_part_that_could_be_misread_is_refused(fabric: str, namespace: str, pod: str) -> None:
    with pytest.raises(Malformed):
        origin(fabric, namespace, pod, KEY)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "m.f/n/p",
        "m.f/n/p/short",
        "m.f/n/p/" + "a" * 27,
        "m.f/n/p/" + "A" * 26,
        "m.f/n/p/" + "a" * 26 + "\n",
        "m.f/n/" + "p" * 300 + "/" + "a" * 26,
        cosigner("m.f", "billing"),
    ],
)
def test_what_is_no_origin_is_malformed(text: str) -> None:
    with pytest.raises(Malformed, match="origin"):
        parse_origin(text)


@given(st.text())
def test_any_text_is_an_origin_or_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        parse_origin(text + " ")


@pytest.mark.parametrize(
    "subject",
    [
        Producer("example.org", "metering.main", "shop", "web", "web-0", "6a1f-22"),
        Sink("example.org", "metering.main", "billing"),
    ],
)
def test_a_spiffe_id_reads_back(subject: Producer | Sink) -> None:
    assert parse_spiffe(subject.spiffe) == subject


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "spiffe://example.org",
        "https://example.org/fabric/m.f/sink/billing",
        "spiffe://example.org/fabric/m.f/sink/billing/",
        "spiffe://example.org//fabric/m.f/sink/billing",
        "spiffe://EXAMPLE.org/fabric/m.f/sink/billing",
        "spiffe://user@example.org/fabric/m.f/sink/billing",
        "spiffe://example.org:8443/fabric/m.f/sink/billing",
        "spiffe://example.org/fabric/m.f/sink/bil%6cing",
        "spiffe://example.org/fabric/m.f/sink/billing?x",
        "spiffe://example.org/fabric/m.f/ns/shop/sa/web/pod/web-0",
        "spiffe://example.org/fabric/m.f/ns/shop/sa/web/pod/../uid/1",
    ],
)
def test_what_is_no_spiffe_id_of_ours_is_malformed(uri: str) -> None:
    with pytest.raises(Malformed):
        parse_spiffe(uri)
