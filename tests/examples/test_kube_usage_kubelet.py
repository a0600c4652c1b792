"""Asking a kubelet, over TLS, as a service account; what is wrong is said with what to do."""

import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from kube_usage.kubelet import PATH, Kubelet
from kube_usage.scan import ScrapeFailed

DAY = timedelta(days=1)


class Handler(BaseHTTPRequestHandler):
    """A kubelet that knows one token."""

    def do_GET(self) -> None:
        allowed = self.headers["Authorization"] == "Bearer right" and self.path == PATH
        body = b"a page" if allowed else b"Forbidden (user=x, verb=get, resource=nodes, subresource=metrics)"
        self.send_response(200 if allowed else 403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def certificate(common_name: str) -> tuple[bytes, bytes]:
    """A certificate for 127.0.0.1 that is its own authority, and its key; PEM."""
    key = generate_private_key(SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + DAY)
    made = made.add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), False)
    made = made.add_extension(x509.BasicConstraints(True, None), True)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return made.sign(key, SHA256()).public_bytes(Encoding.PEM), private


@pytest.fixture
def kubelet(tmp_path: Path) -> Iterator[Kubelet]:
    """A server whose certificate is its own authority, and a pod that has the right token."""
    for file, content in zip(("ca.crt", "key"), certificate("node-1"), strict=True):
        (tmp_path / file).write_bytes(content)
    (tmp_path / "token").write_text("right\n")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "ca.crt", tmp_path / "key")
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield Kubelet("127.0.0.1", server.server_port, tmp_path / "token", tmp_path / "ca.crt")
        server.shutdown()
        thread.join()


def test_the_page_is_asked_for_with_the_token_as_it_is_now(kubelet: Kubelet) -> None:
    assert kubelet.page() == "a page"
    kubelet.token.write_text("another")
    with pytest.raises(ScrapeFailed, match=r"403 Forbidden .*; the service account needs get on nodes/metrics"):
        kubelet.page()


def test_a_kubelet_that_signs_its_own_certificate_is_told_of_and_asked_only_where_that_is_wanted(
    kubelet: Kubelet, tmp_path: Path
) -> None:
    other = tmp_path / "other.crt"
    other.write_bytes(certificate("another")[0])
    with pytest.raises(ScrapeFailed, match="--insecure-kubelet"):
        Kubelet(kubelet.host, kubelet.port, kubelet.token, other).page()
    assert Kubelet(kubelet.host, kubelet.port, kubelet.token, None).page() == "a page"


def test_what_is_not_there_is_a_missed_scrape(kubelet: Kubelet, tmp_path: Path) -> None:
    for wrong in (
        Kubelet(kubelet.host, kubelet.port, kubelet.token, tmp_path / "none"),
        Kubelet(kubelet.host, kubelet.port, tmp_path / "none", kubelet.authorities),
        Kubelet(kubelet.host, 1, kubelet.token, kubelet.authorities),
    ):
        with pytest.raises(ScrapeFailed, match=r"No such file|refused"):
            wrong.page()
