"""Asking a node's kubelet for its page /metrics/resource, as this pod's service account.

The kubelet itself is asked, not the API server's proxy to it. For /metrics/… a kubelet wants `get` on nodes/metrics,
which opens its metrics and nothing else; the proxy wants `get` on nodes/proxy, which opens everything that a kubelet
does, down to running commands in each pod of the node.
"""

from __future__ import annotations

import http.client
import ssl
from dataclasses import dataclass
from pathlib import Path

from kube_usage.scan import ScrapeFailed

PATH = "/metrics/resource"
_MOST_BYTES = 32 << 20


@dataclass(frozen=True)
class Kubelet:
    """`token`: the file of the service account's token, read each time because it is renewed. `authorities`: PEM of
    who signs kubelets' certificates; None leaves the certificate unchecked."""

    host: str
    port: int
    token: Path
    authorities: Path | None
    seconds: float = 10.0

    def page(self) -> str:
        """The page. Raises ScrapeFailed with what went wrong and, where it is known, what to do."""
        connection = http.client.HTTPSConnection(self.host, self.port, timeout=self.seconds, context=self._tls())
        try:
            connection.request("GET", PATH, headers={"Authorization": f"Bearer {self.token.read_text().strip()}"})
            answer = connection.getresponse()
            body = answer.read(_MOST_BYTES + 1)
        except ssl.SSLCertVerificationError as error:
            raise ScrapeFailed(
                f"{self._name}: {error.verify_message}; kubelets that sign their own certificate need"
                " --insecure-kubelet, or serverTLSBootstrap and an approver"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise ScrapeFailed(f"{self._name}: {str(error) or type(error).__name__}") from error
        finally:
            connection.close()
        if answer.status != http.HTTPStatus.OK:
            said = body[:200].decode(errors="replace").strip()
            need = "; the service account needs get on nodes/metrics" if answer.status in (401, 403) else ""
            raise ScrapeFailed(f"{self._name}{PATH}: {answer.status} {said}{need}")
        if len(body) > _MOST_BYTES:
            raise ScrapeFailed(f"{self._name}{PATH}: longer than {_MOST_BYTES} bytes")
        return body.decode(errors="replace")

    @property
    def _name(self) -> str:
        return f"https://{self.host}:{self.port}"

    def _tls(self) -> ssl.SSLContext:
        if self.authorities is None:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            return context
        try:
            return ssl.create_default_context(cafile=self.authorities)
        except OSError as error:
            raise ScrapeFailed(f"{self.authorities}: {error.strerror or error}") from error
