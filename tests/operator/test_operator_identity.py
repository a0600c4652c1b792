"""Keys in Secrets: made once, kept, renewed in time, and never replaced where they can't be read."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509 import load_pem_x509_certificates

from meterfabric_operator.keys.identity import (
    HISTORY,
    SINK_LIFETIME,
    SPARE,
    IdentityError,
    Roots,
    data_of,
    keep_relay_key,
    keep_roots,
    keep_sink,
    read_history,
    read_spare,
)
from meterfabric_protocol.identity import BUNDLE_ROOTS, ChainVerifier, Sink, TrustBundle
from meterfabric_runtime.curve import from_z85

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SINK = Sink("example.org", "metering.demo", "billing")


def test_roots_are_made_once_and_read_again() -> None:
    made = keep_roots({}, "example.org", NOW)
    again = keep_roots(made.files, "example.org", NOW + timedelta(days=1), past=certificates(made), spare=made.spare)
    assert list(made.files) == ["root-0001.pem", "root-0002.pem"]
    assert (again.files, again.spare) == (made.files, made.spare)


def test_a_spare_root_is_in_the_bundle_and_its_key_elsewhere() -> None:
    made = keep_roots({}, "example.org", NOW)
    assert made.spare is not None
    assert made.spare.pem.decode() in made.bundle
    assert made.files["root-0002.pem"] == made.spare.pem
    held = read_spare({SPARE: made.spare.written()})
    assert held is not None
    assert held.written() == made.spare.written()
    assert read_spare({}) is None
    assert read_spare({SPARE: made.spare.pem}) is None
    with pytest.raises(IdentityError, match=r"spare\.pem is damaged.*delete it"):
        read_spare({SPARE: b"?"})


def test_a_root_of_which_half_has_passed_gets_a_successor() -> None:
    made = keep_roots({}, "example.org", NOW)
    then = NOW + timedelta(days=1900)
    later = keep_roots(made.files, "example.org", then, past=certificates(made), spare=made.spare)
    # So does the spare one.
    assert list(later.files) == [f"root-000{number}.pem" for number in range(1, 5)]
    assert later.spare is not None
    assert later.spare.certificate == certificates(later)[3]
    assert made.spare is not None
    assert made.spare.certificate == certificates(later)[1]
    again = keep_roots(later.files, "example.org", then, past=certificates(later), spare=later.spare)
    assert again.files == later.files


def test_a_new_root_is_trusted_before_it_issues_and_the_old_ones_key_goes_then() -> None:
    made = keep_roots({}, "example.org", NOW)
    rotated = keep_roots(made.files, "example.org", NOW, past=certificates(made), spare=made.spare, wanted=2)
    assert rotated.issuing(NOW) == rotated.named[0][1]
    assert len(rotated.named) == 3
    later = NOW + timedelta(hours=25)
    settled = keep_roots(rotated.files, "example.org", later, past=certificates(rotated), spare=rotated.spare)
    assert settled.issuing(later) == settled.named[2][1]
    assert settled.named[0][1].key is None
    assert settled.bundle == rotated.bundle


@pytest.mark.parametrize("damage", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_damaged_root_is_told_and_not_replaced(damage: bytes) -> None:
    with pytest.raises(IdentityError, match=r"root-0001\.pem is damaged.*backup"):
        keep_roots({"root-0001.pem": damage}, "example.org", NOW)


def test_roots_without_keys_issue_nothing() -> None:
    made = keep_roots({}, "example.org", NOW)
    public = {name: root.pem for name, root in made.named}
    with pytest.raises(IdentityError, match="no root has its key"):
        keep_roots(public, "example.org", NOW).issuing(NOW)


def certificates(roots: Roots) -> list[x509.Certificate]:
    return [root.certificate for _, root in roots.named]


def test_an_authority_that_is_lost_is_replaced_by_the_spare_root_that_everybody_trusts_already() -> None:
    first = keep_roots({}, "example.org", NOW)
    assert first.spare is not None
    second = keep_roots({}, "example.org", NOW, past=certificates(first), spare=first.spare)
    assert second.replaces
    assert second.bundle.startswith(first.bundle)
    assert second.issuing(NOW) == first.spare
    assert second.named[0][1].key is None
    assert second.spare is not None
    assert [root.certificate for _, root in second.named] == [*certificates(first), second.spare.certificate]
    # Written, it is an authority like any other, also before the history knows of it.
    again = keep_roots(second.files, "example.org", NOW, past=certificates(second), spare=second.spare)
    assert (again.files, again.spare, again.replaces) == (second.files, second.spare, False)
    between = keep_roots(second.files, "example.org", NOW, past=certificates(first), spare=first.spare)
    assert between.issuing(NOW).written() == first.spare.written()
    assert between.spare not in (None, first.spare)


@pytest.mark.parametrize("known", [True, False])
def test_without_a_spare_root_or_with_one_that_nobody_trusts_another_is_made(known: bool) -> None:
    first, stranger = keep_roots({}, "example.org", NOW), keep_roots({}, "example.org", NOW)
    spare = stranger.spare if known else None
    second = keep_roots({}, "example.org", NOW, past=certificates(first), spare=spare)
    assert second.replaces
    assert second.bundle.startswith(first.bundle)
    assert second.issuing(NOW).certificate not in (*certificates(first), *certificates(stranger))


def test_an_authority_that_is_brought_back_issues_again_and_its_successor_stays_trusted() -> None:
    first = keep_roots({}, "example.org", NOW)
    later = NOW + timedelta(days=3)
    second = keep_roots({}, "example.org", later, past=certificates(first), spare=first.spare)
    back = keep_roots(first.files, "example.org", later, past=certificates(second), spare=second.spare)
    assert not back.replaces
    assert back.bundle == second.bundle
    assert back.issuing(later).certificate == first.named[0][1].certificate


def test_a_root_of_the_history_whose_name_is_taken_gets_another() -> None:
    lost, other = keep_roots({}, "example.org", NOW), keep_roots({}, "example.org", NOW + timedelta(days=1))
    both = keep_roots(other.files, "example.org", NOW + timedelta(days=2), past=certificates(lost))
    assert set(both.files) == {f"root-000{number}.pem" for number in range(1, 6)}
    assert certificates(both)[:-1] == [*certificates(lost), *certificates(other)]
    assert both.issuing(NOW + timedelta(days=2)).certificate == certificates(other)[0]


def test_no_more_roots_are_made_than_a_bundle_may_hold() -> None:
    roots = keep_roots({}, "example.org", NOW)
    for _ in range(BUNDLE_ROOTS - 1):
        roots = keep_roots({}, "example.org", NOW, past=certificates(roots), spare=roots.spare)
    assert roots.spare is None
    assert len(TrustBundle(roots.bundle.encode()).roots) == BUNDLE_ROOTS
    with pytest.raises(IdentityError, match="a bundle holds 64"):
        keep_roots({}, "example.org", NOW, past=certificates(roots))


def test_a_damaged_history_is_told_with_what_to_do() -> None:
    roots = keep_roots({}, "example.org", NOW)
    assert read_history({HISTORY: roots.bundle.encode()}) == tuple(certificates(roots))
    assert read_history({}) == ()
    with pytest.raises(IdentityError, match=r"roots\.pem is damaged.*delete it"):
        read_history({HISTORY: b"?"})


def test_the_relays_key_is_kept() -> None:
    secret, public = keep_relay_key({})
    assert keep_relay_key({}, secret.encode()) == (secret, public)
    assert keep_relay_key({"relays.curve": secret.encode() + b"\n"}) == (secret, public)
    assert len(from_z85(public)) == 32
    with pytest.raises(IdentityError, match=r"relays\.curve"):
        keep_relay_key({"relays.curve": b"not a key"})


def test_a_sinks_certificate_is_its_own_and_is_renewed_when_a_third_has_passed() -> None:
    roots = keep_roots({}, "example.org", NOW)
    made = keep_sink({}, SINK, roots, NOW)
    verifier = ChainVerifier(TrustBundle(roots.bundle.encode()))
    assert verifier.verify(made.chain.encode(), NOW, role="sink", fabric="metering.demo").subject == SINK
    files = {"key.pem": made.key.encode(), "chain.pem": made.chain.encode()}
    assert keep_sink(files, SINK, roots, NOW + SINK_LIFETIME / 4) == made
    renewed = keep_sink(files, SINK, roots, NOW + SINK_LIFETIME / 2)
    assert renewed.key == made.key
    assert renewed.not_after > made.not_after


def test_a_key_that_a_person_brings_gets_a_certificate() -> None:
    roots = keep_roots({}, "example.org", NOW)
    first, second = keep_sink({}, SINK, roots, NOW), keep_sink({}, SINK, roots, NOW)
    mixed = keep_sink({"key.pem": second.key.encode(), "chain.pem": first.chain.encode()}, SINK, roots, NOW)
    assert mixed.key == second.key
    keys = [load_pem_x509_certificates(each.chain.encode())[0].public_key() for each in (mixed, second)]
    assert keys[0] == keys[1]


def test_a_damaged_sink_key_is_told_and_not_replaced() -> None:
    roots = keep_roots({}, "example.org", NOW)
    with pytest.raises(IdentityError, match=r"key\.pem is damaged"):
        keep_sink({"key.pem": b"?"}, SINK, roots, NOW)


def test_a_secret_that_isnt_base64_is_told_by_its_name() -> None:
    with pytest.raises(IdentityError, match="Secret demo-authority"):
        data_of({"metadata": {"name": "demo-authority"}, "data": {"root-0001.pem": "*"}})
    assert data_of(None) == data_of({"metadata": {"name": "a"}}) == {}
