"""The keys and certificates of a cluster: one authority, a certificate for each that speaks to the API server."""

import ipaddress
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.cluster.plan import CONTROL_ADDRESS, FIRST_SERVICE, Plan

LIFETIME = timedelta(days=365)
ADMINISTRATORS = "system:masters"


class KeyFolder:
    """A folder with NAME.key and NAME.crt of an authority, `ca`, and of those that it certifies."""

    def __init__(self, folder: Path, now: datetime) -> None:
        """Make the folder and the authority."""
        self._folder = folder
        self._now = now
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("meterfabric-test-cluster", ())
        folder.mkdir(parents=True, mode=0o700)
        self._write("ca", self._key, self._certificate("ca", (), (), self._key.public_key(), authority=True))

    def certify(self, file: str, user: str, groups: Sequence[str] = (), hosts: Sequence[str] = ()) -> None:
        """Write a key and a certificate for a user of the API server and for a server at `hosts`."""
        key = ec.generate_private_key(ec.SECP256R1())
        self._write(file, key, self._certificate(user, groups, hosts, key.public_key(), authority=False))

    def pair(self, file: str) -> None:
        """Write a key and, as FILE.pub, its public half."""
        key = ec.generate_private_key(ec.SECP256R1())
        self._write(file, key, None)
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (self._folder / f"{file}.pub").write_bytes(public)

    def _certificate(
        self,
        user: str,
        groups: Sequence[str],
        hosts: Sequence[str],
        key: ec.EllipticCurvePublicKey,
        *,
        authority: bool,
    ) -> x509.Certificate:
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])
        builder = (
            x509.CertificateBuilder()
            .subject_name(self._name if authority else _name(user, groups))
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - timedelta(minutes=5))
            .not_valid_after(self._now + LIFETIME)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(_key_usage(authority), critical=True)
        )
        if not authority:
            builder = builder.add_extension(usage, critical=False)
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName(list(map(_host, hosts))), critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def _write(self, file: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate | None) -> None:
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (self._folder / f"{file}.key").write_bytes(secret)
        if certificate is not None:
            (self._folder / f"{file}.crt").write_bytes(certificate.public_bytes(Encoding.PEM))


def make(plan: Plan, now: datetime) -> None:
    """Every key of a cluster. The folder is private: who reads it is the cluster's administrator."""
    keys = KeyFolder(plan.keys, now)
    keys.pair("service-accounts")
    keys.certify(
        "kube-apiserver",
        "kube-apiserver",
        [ADMINISTRATORS],
        [
            "localhost",
            "127.0.0.1",
            CONTROL_ADDRESS,
            FIRST_SERVICE,
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
        ],
    )
    keys.certify("front-proxy", "front-proxy")
    keys.certify("admin", "kubernetes-admin", [ADMINISTRATORS])
    keys.certify("kube-controller-manager", "system:kube-controller-manager")
    keys.certify("kube-scheduler", "system:kube-scheduler")
    keys.certify("kube-proxy", "system:kube-proxy")
    for node in plan.workers:
        keys.certify(node.name, f"system:node:{node.name}", ["system:nodes"], [node.name, node.address])


def _name(user: str, groups: Sequence[str]) -> x509.Name:
    organizations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*organizations, x509.NameAttribute(NameOID.COMMON_NAME, user)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_usage(authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
