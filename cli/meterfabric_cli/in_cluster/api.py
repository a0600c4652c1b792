"""The API server as the commands ask it: a thin shell around the Kubernetes client, in JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from meterfabric_cli.errors import CommandError

try:
    import urllib3
    from kubernetes.stream.ws_client import ERROR_CHANNEL, STDERR_CHANNEL, STDOUT_CHANNEL, WSClient, get_websocket_url
    from websocket import WebSocketBadStatusException, WebSocketException

    from kubernetes import client, config
except ImportError as missing:
    raise CommandError(f"{missing}; install meterfabric[k8s]") from missing

_SECONDS: Final = 15.0
_SILENT: Final = 3600.0
"""How long a command in a pod may say nothing: an audit speaks at its end."""
_OUTPUT_BYTES: Final = 256 << 20

Object = dict[str, Any]


class Refused(CommandError):
    """The API server's answer is a no; `status` is HTTP's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Ran:
    """How a command in a pod ended."""

    code: int
    out: bytes
    err: bytes


# The client's functions say nothing of their types.
_config: Any = config
_WSClient: Any = WSClient
_websocket_url: Any = get_websocket_url


class Api:
    """Methods raise CommandError where the server can't be reached or says no (Refused). May be used from threads."""

    def __init__(self, kubeconfig: str | None, context: str | None) -> None:
        """As kubectl chooses: the named file, else $KUBECONFIG, else ~/.kube/config."""
        self._settings: Any = client.Configuration()
        try:
            _config.load_kube_config(kubeconfig, context, client_configuration=self._settings)
        except (config.ConfigException, OSError, TypeError, ValueError) as error:
            why = str(error).rstrip(".")
            raise CommandError(f"no cluster: {why}; --kubeconfig FILE or --context NAME choose one") from error
        self._settings.retries = False
        self._api: Any = client.ApiClient(self._settings)

    def get(self, path: str) -> Object:
        """One object, or any JSON behind a path."""
        found = self._json("GET", path, [])
        if not isinstance(found, dict):
            raise CommandError(f"{path}: no JSON object")
        return found

    def objects(self, path: str, selector: str = "") -> list[Object]:
        """The objects of a collection with these labels."""
        found: list[Object] = []
        token = ""
        while True:
            query = [("limit", "500")]
            query += [("labelSelector", selector)] if selector else []
            query += [("continue", token)] if token else []
            page = self._json("GET", path, query)
            found += page.get("items", [])
            token = page["metadata"].get("continue", "")
            if not token:
                return found

    def page(self, namespace: str, pod: str, port: int, path: str) -> Object:
        """A JSON page that a pod serves, by the API server's way to pods (the right to get pods/proxy)."""
        return self.get(f"/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy{path}")

    def run(self, namespace: str, pod: str, container: str, command: Sequence[str]) -> Ran:
        """Run a command in a container, with nothing on its standard input (the right to create pods/exec)."""
        query = [("command", word) for word in command]
        query += [("container", container), ("stdout", "true"), ("stderr", "true")]
        _, url, headers, *_ = self._request("GET", f"/api/v1/namespaces/{namespace}/pods/{pod}/exec", query)
        try:
            socket: Any = _WSClient(self._settings, _websocket_url(url), headers, capture_all=False, binary=True)
            return _ended(socket)
        except WebSocketBadStatusException as error:
            said = _message(getattr(error, "resp_body", b"") or b"")
            raise Refused(error.status_code, f"exec in {namespace}/{pod}: {error.status_code} {said}") from error
        except (WebSocketException, OSError) as error:
            raise CommandError(f"exec in {namespace}/{pod}: {error}") from error

    def _request(self, method: str, path: str, query: list[tuple[str, str]]) -> Any:
        headers = {"Accept": "application/json"}
        return self._api.param_serialize(
            method, path, query_params=query, header_params=headers, auth_settings=["BearerToken"]
        )

    def _json(self, method: str, path: str, query: list[tuple[str, str]]) -> Any:
        try:
            response = self._api.call_api(*self._request(method, path, query), _request_timeout=_SECONDS)
            data = response.read()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            reason = getattr(error, "reason", None) or error
            raise CommandError(f"{self._settings.host}: {reason}") from error
        if not 200 <= response.status <= 299:
            raise Refused(response.status, f"{path}: {response.status} {_message(data)}")
        try:
            return json.loads(data)
        except ValueError:
            raise CommandError(f"{path}: no JSON") from None


def _message(data: bytes) -> str:
    try:
        return str(json.loads(data)["message"])
    except (ValueError, KeyError, TypeError):
        return data[:200].decode(errors="replace")


def _ended(socket: Any) -> Ran:
    """Read a command's channels to its end."""
    out, err = bytearray(), bytearray()
    try:
        while socket.is_open():
            socket.update(timeout=_SILENT)
            arrived = socket.read_channel(STDOUT_CHANNEL)
            out += arrived
            said = socket.read_channel(STDERR_CHANNEL)
            err += said
            if len(out) > _OUTPUT_BYTES:
                raise CommandError(f"more than {_OUTPUT_BYTES} bytes of output")
        return Ran(_code(socket.read_channel(ERROR_CHANNEL)), bytes(out), bytes(err))
    finally:
        socket.close()


def _code(status: bytes) -> int:
    """The exit code in the Status object that ends an exec (remotecommand, v4.channel.k8s.io)."""
    try:
        found = json.loads(status)
        if found["status"] == "Success":
            return 0
        causes = {each["reason"]: each["message"] for each in found["details"]["causes"]}
        return int(causes["ExitCode"])
    except (ValueError, KeyError, TypeError) as error:
        said = _message(status) or "the connection was cut"
        raise CommandError(f"the command in the pod: {said}") from error
