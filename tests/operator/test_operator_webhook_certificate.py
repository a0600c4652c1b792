"""The webhook's certificate through its years: never is one served that isn't trusted, whoever lags behind."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from meterfabric_operator.keys.webhook_certificate import SERVING, Kept, keep, overlap, read

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOSTS = ("r-inject-1.sys.svc", "r-inject-2.sys.svc")
LIFETIME = timedelta(days=90)
LAP = overlap(LIFETIME)


def kept(before: Kept | None, now: datetime, lifetime: timedelta = LIFETIME) -> Kept:
    """Another look, after the last one's result was written."""
    if before is None:
        return keep({}, None, b"", HOSTS, now, lifetime)
    return keep(before.files, before.since, before.bundle, HOSTS, now, lifetime)


def served(of: Kept) -> bytes:
    pair = read(of.files[SERVING])
    assert pair is not None
    return pair.certificate


def test_the_first_is_served_at_once_by_the_names_that_are_called() -> None:
    first = kept(None, NOW)
    (certificate,) = x509.load_pem_x509_certificates(first.bundle)
    assert served(first) == first.bundle
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == list(HOSTS)
    assert kept(first, NOW + LAP) == first


@pytest.mark.parametrize("lifetime", [LIFETIME, timedelta(seconds=60)])
def test_through_many_rotations_what_is_served_and_was_served_a_while_ago_is_trusted(lifetime: timedelta) -> None:
    lap, step = overlap(lifetime), overlap(lifetime) / 4
    now, look = NOW, kept(None, NOW, lifetime)
    history = [(now, look)]
    while now < NOW + 3 * lifetime:
        # Long stretches in which nothing happens are passed over.
        now += step if len(look.files) > 1 or now < look.since + 2 * lap else max(step, lifetime / 50)
        look = kept(look, now, lifetime)
        history.append((now, look))
    rotations = 0
    for (then, before), (at, after) in itertools.pairwise(history):
        # A replica or an API server that lags by one look still agrees with one that doesn't.
        assert served(before) in after.bundle
        assert served(after) in before.bundle
        rotations += served(before) != served(after)
        pair = read(after.files[SERVING])
        assert pair is not None
        assert at < pair.made + lifetime * 2 / 3
        assert at - then >= step
    assert rotations >= 4
    assert len(x509.load_pem_x509_certificates(history[-1][1].bundle)) <= 2


def test_the_next_is_not_served_before_the_api_server_was_told() -> None:
    first = kept(None, NOW)
    half = NOW + LIFETIME / 2 + timedelta(seconds=1)
    second = kept(first, half)
    assert len(second.files) == 2
    untold = keep(second.files, second.since, first.bundle, HOSTS, half + 2 * LAP, LIFETIME)
    assert served(untold) == served(first)
    assert kept(untold, half + 3 * LAP).files.keys() == {SERVING}


def test_where_the_secret_is_lost_the_old_one_is_trusted_until_replicas_have_the_new() -> None:
    first = kept(None, NOW)
    again = keep({}, None, first.bundle, HOSTS, NOW + timedelta(days=1), LIFETIME)
    assert served(again) != served(first)
    assert served(first) in again.bundle
    later = kept(again, NOW + timedelta(days=1) + LAP)
    assert later.bundle == served(again)


@pytest.mark.parametrize("damage", [b"", b"not PEM", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_cant_be_read_is_made_anew(damage: bytes) -> None:
    first = kept(None, NOW)
    again = keep({SERVING: damage}, first.since, damage, HOSTS, NOW, LIFETIME)
    assert served(again) == again.bundle


def test_a_key_that_isnt_its_certificates_is_none() -> None:
    one, other = (read(kept(None, NOW).files[SERVING]) for _ in range(2))
    assert one is not None
    assert other is not None
    assert read(one.certificate + other.key) is None


def test_one_that_ran_out_while_the_operator_was_away_is_replaced_at_once() -> None:
    first = kept(None, NOW)
    late = kept(first, NOW + LIFETIME + timedelta(days=1))
    assert served(late) == late.bundle != first.bundle
