import asyncio
import contextlib
import os
from base64 import encodebytes
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from meterfabric_protocol.identity import Identity, Producer, Sink, Subject, TrustBundle, verify_chain
from meterfabric_runtime.authority import Authority, AuthorityError, LocalAuthority, renewal_time
from meterfabric_runtime.authority_desk import Desk, LocalAuthorityClient
from meterfabric_runtime.csr import EnrolmentRefused, make_csr, read_csr
from meterfabric_runtime.files import SecretFileError
from meterfabric_runtime.roots import Lifetimes
from tests.pki import NOW, PRODUCER, SINK, raw

KEY = Ed25519PrivateKey.generate()
HOUR = timedelta(hours=1)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def everybody(subject: Subject) -> bool:
    return True


def local(folder: Path, clock: Clock) -> LocalAuthority:
    return LocalAuthority(folder, trust_domain="example.org", admits=everybody, clock=clock)


def prove(authority: LocalAuthority, chain: bytes, at: datetime) -> Identity:
    return verify_chain(chain, TrustBundle(authority.bundle()), at)


def test_a_producer_and_a_sink_get_certificates_that_verify(tmp_path: Path, clock: Clock) -> None:
    authority = local(tmp_path / "authority", clock)
    producer = prove(authority, authority.issue(make_csr(KEY, PRODUCER)), NOW)
    assert isinstance(producer.subject, Producer)
    assert producer.subject.spiffe == PRODUCER
    assert producer.public_key == raw(KEY)
    assert producer.not_after == NOW + 72 * HOUR
    assert producer.not_before < NOW
    sink = prove(authority, authority.issue(make_csr(KEY, SINK)), NOW)
    assert isinstance(sink.subject, Sink)


def test_a_certificate_is_renewed_a_third_into_its_time() -> None:
    assert renewal_time(NOW, NOW + 72 * HOUR) == NOW + 24 * HOUR


def test_lifetimes_are_settings(tmp_path: Path, clock: Clock) -> None:
    lifetimes = Lifetimes(producer=2 * HOUR, sink=3 * HOUR, root=150 * timedelta(minutes=1))
    authority = LocalAuthority(tmp_path, trust_domain="example.org", admits=everybody, clock=clock, lifetimes=lifetimes)
    assert prove(authority, authority.issue(make_csr(KEY, PRODUCER)), NOW).not_after == NOW + 2 * HOUR
    # Never longer than the root's.
    assert prove(authority, authority.issue(make_csr(KEY, SINK)), NOW).not_after == NOW + 2.5 * HOUR
    clock.now += 3 * HOUR
    with pytest.raises(AuthorityError, match="rotate"):
        authority.issue(make_csr(KEY, PRODUCER))
    authority.rotate()
    clock.now += 24 * HOUR
    with pytest.raises(AuthorityError, match="rotate"):
        authority.issue(make_csr(KEY, PRODUCER))


def test_the_root_is_made_once_and_is_its_owners_only(tmp_path: Path, clock: Clock) -> None:
    folder = tmp_path / "authority"
    first = local(folder, clock)
    again = local(folder, clock)
    assert first.bundle() == again.bundle()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [(entry.name, entry.stat().st_mode & 0o777) for entry in folder.iterdir()] == [("root-0001.pem", 0o600)]
    prove(first, again.issue(make_csr(KEY, PRODUCER)), NOW)


def test_a_root_file_that_others_can_read_or_that_is_damaged_is_not_used(tmp_path: Path, clock: Clock) -> None:
    local(tmp_path, clock)
    root = tmp_path / "root-0001.pem"
    whole = root.read_bytes()
    root.chmod(0o644)
    with pytest.raises(SecretFileError, match="0644"):
        local(tmp_path, clock)
    root.chmod(0o600)
    for content in (b"", whole[: len(whole) // 3], whole[:-60]):
        root.write_bytes(content)
        with pytest.raises(SecretFileError, match="damaged"):
            local(tmp_path, clock)
    other = local(tmp_path / "other", clock)
    stolen = (other.folder / "root-0001.pem").read_bytes()
    root.write_bytes(whole[: whole.index(b"-----BEGIN PRIV")] + stolen[stolen.index(b"-----BEGIN PRIV") :])
    with pytest.raises(SecretFileError, match="isn't its certificate's"):
        local(tmp_path, clock)


def test_only_whom_it_is_told_to_admit_gets_a_certificate(tmp_path: Path, clock: Clock) -> None:
    authority = LocalAuthority(
        tmp_path, trust_domain="example.org", admits=lambda subject: subject.spiffe == PRODUCER, clock=clock
    )
    authority.issue(make_csr(KEY, PRODUCER))
    for other in (SINK, PRODUCER.replace("web-0", "web-1"), PRODUCER.replace("example.org", "example.com")):
        with pytest.raises(EnrolmentRefused) as caught:
            authority.issue(make_csr(KEY, other))
        assert caught.value.reason == "not-admitted"


def test_another_trust_domain_is_never_admitted(tmp_path: Path, clock: Clock) -> None:
    with pytest.raises(EnrolmentRefused, match="not-admitted"):
        local(tmp_path, clock).issue(make_csr(KEY, PRODUCER.replace("example.org", "example.com")))


def test_a_new_root_is_trusted_before_it_issues(tmp_path: Path, clock: Clock) -> None:
    authority = local(tmp_path, clock)
    bundle = authority.bundle()
    old = authority.issue(make_csr(KEY, PRODUCER))
    clock.now += HOUR
    authority.rotate()
    assert authority.bundle().startswith(bundle)
    assert len(TrustBundle(authority.bundle()).roots) == 2
    clock.now += 23 * HOUR
    verify_chain(authority.issue(make_csr(KEY, PRODUCER)), TrustBundle(bundle), clock.now)
    clock.now += HOUR
    new = authority.issue(make_csr(KEY, PRODUCER))
    assert prove(authority, new, clock.now).public_key == raw(KEY)
    with pytest.raises(Exception, match="unknown-authority"):
        verify_chain(new, TrustBundle(bundle), clock.now)
    prove(authority, old, NOW)


def test_a_root_that_issues_no_more_loses_its_key_and_stays_in_the_bundle(tmp_path: Path, clock: Clock) -> None:
    authority = local(tmp_path, clock)
    authority.rotate()
    authority.issue(make_csr(KEY, PRODUCER))
    assert b"PRIVATE" in (tmp_path / "root-0001.pem").read_bytes()
    clock.now += 24 * HOUR
    authority.issue(make_csr(KEY, PRODUCER))
    assert b"PRIVATE" not in (tmp_path / "root-0001.pem").read_bytes()
    assert b"PRIVATE" in (tmp_path / "root-0002.pem").read_bytes()
    again = local(tmp_path, clock)
    assert again.bundle() == authority.bundle()
    prove(authority, again.issue(make_csr(KEY, PRODUCER)), clock.now)


def test_an_authority_whose_key_is_gone_says_so(tmp_path: Path, clock: Clock) -> None:
    root = tmp_path / "root-0001.pem"
    whole = (local(tmp_path, clock), root.read_bytes())[1]
    root.write_bytes(whole[: whole.index(b"-----BEGIN PRIV")])
    with pytest.raises(AuthorityError, match="rotate"):
        local(tmp_path, clock).issue(make_csr(KEY, PRODUCER))


def request_with(*extensions: x509.ExtensionType) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(KEY, None).public_bytes(Encoding.PEM)


URI = x509.UniformResourceIdentifier(PRODUCER)


@pytest.mark.parametrize(
    "csr",
    [
        b"",
        b"nonsense",
        make_csr(KEY, PRODUCER)[:-50],
        make_csr(KEY, PRODUCER) + b"\n" * 16384,
        make_csr(KEY, "spiffe://example.org/other"),
        request_with(),
        request_with(x509.SubjectAlternativeName([URI, URI])),
        request_with(x509.SubjectAlternativeName([x509.DNSName("web")])),
        request_with(x509.SubjectAlternativeName([URI]), x509.BasicConstraints(True, None)),
        request_with(x509.BasicConstraints(True, None)),
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_extension(x509.SubjectAlternativeName([URI]), critical=True)
        .sign(ec.generate_private_key(ec.SECP256R1()), SHA256())
        .public_bytes(Encoding.PEM),
    ],
    ids=["empty", "text", "cut", "long", "foreign name", "no name", "two names", "DNS", "CA too", "CA only", "ECDSA"],
)
def test_a_request_for_anything_but_one_name_is_malformed(csr: bytes) -> None:
    with pytest.raises(EnrolmentRefused) as caught:
        read_csr(csr)
    assert caught.value.reason == "malformed"


@given(st.data())
def test_a_request_with_any_byte_changed_is_malformed_or_means_the_same(data: st.DataObject) -> None:
    der = bytearray(x509.load_pem_x509_csr(make_csr(KEY, PRODUCER)).public_bytes(Encoding.DER))
    der[data.draw(st.integers(0, len(der) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(EnrolmentRefused):
        request = read_csr(x509_pem(bytes(der)))
        assert (request.subject.spiffe, request.public_key) == (PRODUCER, KEY.public_key())


def x509_pem(der: bytes) -> bytes:
    return b"-----BEGIN CERTIFICATE REQUEST-----\n" + encodebytes(der) + b"-----END CERTIFICATE REQUEST-----\n"


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    authority = LocalAuthority(
        tmp_path / "authority",
        trust_domain="example.org",
        admits=lambda subject: subject.spiffe == PRODUCER,
        clock=lambda: datetime.now(UTC),
    )
    return Desk(authority)


@contextlib.asynccontextmanager
async def serving(desk: Desk) -> AsyncIterator[None]:
    task = asyncio.create_task(desk.serve(every=0.01))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


async def test_a_process_enrols_over_the_folder(tmp_path: Path, desk: Desk) -> None:
    client: Authority = LocalAuthorityClient(tmp_path / "authority", every=0.01)
    async with serving(desk), asyncio.timeout(10):
        chains = await asyncio.gather(*(client.enrol(make_csr(Ed25519PrivateKey.generate(), PRODUCER)) for _ in "abc"))
        bundle = TrustBundle(await client.trust())
    for chain in chains:
        assert verify_chain(chain, bundle, datetime.now(UTC)).subject.spiffe == PRODUCER
    assert len(set(chains)) == 3
    assert files(tmp_path / "authority") == ["root-0001.pem", "trust.pem"]


async def test_a_refusal_reaches_the_process_with_its_reason(tmp_path: Path, desk: Desk) -> None:
    client = LocalAuthorityClient(tmp_path / "authority", every=0.01)
    async with serving(desk), asyncio.timeout(10):
        for csr, reason in ((make_csr(KEY, SINK), "not-admitted"), (b"nonsense", "malformed")):
            with pytest.raises(EnrolmentRefused) as caught:
                await client.enrol(csr)
            assert caught.value.reason == reason
    assert files(tmp_path / "authority") == ["root-0001.pem", "trust.pem"]


async def test_a_request_waits_for_an_authority_that_is_away(tmp_path: Path, desk: Desk) -> None:
    client = LocalAuthorityClient(tmp_path / "authority", every=0.01)
    enrolment = asyncio.create_task(client.enrol(make_csr(KEY, PRODUCER)))
    async with asyncio.timeout(10):
        while not files(tmp_path / "authority" / "requests"):
            await asyncio.wait([enrolment], timeout=0.01)
        assert not enrolment.done()
        async with serving(desk):
            assert b"CERTIFICATE" in await enrolment


async def test_a_process_that_gives_up_takes_its_request_back(tmp_path: Path, desk: Desk) -> None:
    client = LocalAuthorityClient(tmp_path / "authority", every=0.01)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await client.enrol(make_csr(KEY, PRODUCER))
    assert desk.answer() == 0


async def test_what_is_no_request_is_left_alone_and_stops_nobody(tmp_path: Path, desk: Desk) -> None:
    requests = tmp_path / "authority" / "requests"
    (requests / "note.txt").write_text("hello")
    (requests / f"{'a' * 64}.csr").symlink_to("/etc/hostname")
    (requests / f"{'b' * 64}.csr").mkdir()
    client = LocalAuthorityClient(tmp_path / "authority", every=0.01)
    async with serving(desk), asyncio.timeout(10):
        assert b"CERTIFICATE" in await client.enrol(make_csr(KEY, PRODUCER))
    assert files(tmp_path / "authority" / "answers") == []


async def test_a_new_root_is_published(tmp_path: Path, desk: Desk) -> None:
    client = LocalAuthorityClient(tmp_path / "authority")
    before = await client.trust()
    desk._authority.rotate()
    desk.answer()
    assert len(TrustBundle(await client.trust()).roots) == 2
    assert (await client.trust()).startswith(before)


async def test_an_answer_nobody_fetches_is_swept(tmp_path: Path, desk: Desk) -> None:
    requests = tmp_path / "authority" / "requests"
    (requests / f"{'a' * 64}.csr").write_bytes(make_csr(KEY, PRODUCER))
    desk.answer()
    [name] = files(tmp_path / "authority" / "answers")
    os.utime(tmp_path / "authority" / "answers" / name, (0, 0))
    desk.answer()
    assert files(tmp_path / "authority" / "answers") == []
