"""The few questions that bringing a cluster up asks its API server. Tests use kubectl, or a client of their own."""

import http.client
import json
import ssl
from typing import Any

from tests.cluster.plan import Plan


class Api:
    """The API server as the administrator sees it, on a port of this machine."""

    def __init__(self, plan: Plan, port: int) -> None:
        self._port = port
        self._context = ssl.create_default_context(cafile=plan.keys / "ca.crt")
        self._context.load_cert_chain(plan.keys / "admin.crt", plan.keys / "admin.key")

    def get(self, path: str) -> Any:
        """The answer, read as JSON where it is; None where there is none, or another than 200."""
        connection = http.client.HTTPSConnection("127.0.0.1", self._port, timeout=5, context=self._context)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        if response.status != http.HTTPStatus.OK:
            return None
        return json.loads(body) if body.startswith(b"{") else body.decode()

    def ready(self) -> bool:
        """Whether the API server says that it is."""
        return bool(self.get("/readyz") == "ok")

    def ready_nodes(self) -> set[str]:
        """The names of the nodes that are Ready."""
        nodes = self.get("/api/v1/nodes") or {"items": []}
        return {
            node["metadata"]["name"]
            for node in nodes["items"]
            for condition in node["status"].get("conditions", [])
            if condition["type"] == "Ready" and condition["status"] == "True"
        }

    def takes_pods(self) -> bool:
        """Whether the namespace `default` has the service account that every pod needs."""
        return self.get("/api/v1/namespaces/default/serviceaccounts/default") is not None
