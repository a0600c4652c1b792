"""Meterfabric installed in a test's cluster by its charts, with a PostgreSQL in a pod."""

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from meterfabric_operator.api.kinds import children
from meterfabric_operator.settings import Settings
from tests.cluster import product, versions
from tests.cluster.cluster import Cluster
from tests.cluster.wait import until
from tests.kubernetes.direct import Direct

ROOT = Path(__file__).resolve().parents[2]
SYSTEM, METERING, SHOP = "meterfabric-system", "metering", "shop"
RELEASE = "fabric"
PASSWORD = "only-for-a-test"
URL = f"postgresql://usage:{PASSWORD}@database.{METERING}.svc.cluster.local/postgres"
SECONDS = 240
"""How long a test waits for what a cluster does by itself, on a machine with more to do than it has processors for."""
IDENTITY_KINDS = ("secret", "configmap")


@dataclass(frozen=True)
class Installed:
    """The cluster, and the names of the images that it was given."""

    kubernetes: Cluster
    dataplane: str
    operator: str
    database: str
    asked: dict[str, Direct] = field(default_factory=dict, repr=False, compare=False)
    """The databases that were asked already."""

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """As `Cluster.kubectl`."""
        return self.kubernetes.kubectl(*arguments, stdin=stdin)

    def apply(self, *objects: dict[str, Any]) -> None:
        """Apply objects."""
        self.kubectl("apply", "-f", "-", stdin="\n---\n".join(map(json.dumps, objects)))

    def dry(self, made: dict[str, Any]) -> dict[str, Any]:
        """What the API server would make of an object now, defaults and admission included. It keeps nothing."""
        found = self.kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", stdin=json.dumps(made))
        whole: dict[str, Any] = json.loads(found)
        return whole

    def get(self, kind: str, name: str, namespace: str = "") -> dict[str, Any] | None:
        """An object, or None."""
        where = ["-n", namespace] if namespace else []
        found = self.kubectl("get", kind, name, *where, "--ignore-not-found", "-o", "json")
        return json.loads(found) if found.strip() else None

    def names(self, kind: str, namespace: str, selector: str = "") -> list[str]:
        """The names of objects."""
        chosen = ["-l", selector] if selector else []
        found = self.kubectl("get", kind, "-n", namespace, *chosen, "-o", "jsonpath={.items[*].metadata.name}")
        return found.split()

    def condition(self, kind: str, name: str, namespace: str, wanted: str) -> dict[str, Any]:
        """One condition of an object's status, or nothing."""
        status = (self.get(kind, name, namespace) or {}).get("status", {})
        return next((each for each in status.get("conditions", []) if each["type"] == wanted), {})

    def said(self, pod: str, namespace: str) -> str:
        """What the container that meters printed so far; nothing where it isn't there yet."""
        return self.said_by("meter", pod, namespace)

    def said_by(self, container: str, pod: str, namespace: str) -> str:
        """The same of any container."""
        try:
            return self.kubectl("logs", pod, "-n", namespace, "-c", container)
        except subprocess.CalledProcessError:
            return ""

    def helm(self, *arguments: str) -> str:
        """What helm printed. Raises CalledProcessError."""
        return helm(self.kubernetes, *arguments)

    @property
    def child_kinds(self) -> tuple[str, ...]:
        """Kinds of what the operator makes here for fabrics."""
        return children(Settings(namespace=SYSTEM, image=self.dataplane, injection=self.mode))

    @property
    def mode(self) -> Literal["policy", "webhook"]:
        """How pods get their sidecars where nothing else is said: as whoever has this Kubernetes would choose."""
        return "policy" if versions.minor(self.kubernetes.plan.version) >= 36 else "webhook"

    def install(self, *options: str, mode: str = "", charts: Path = ROOT / "charts") -> None:
        """Install the chart, or upgrade to it."""
        values = {
            "image": {
                "operator": dict(zip(("repository", "tag"), self.operator.rsplit(":", 1), strict=True)),
                "dataplane": dict(zip(("repository", "tag"), self.dataplane.rsplit(":", 1), strict=True)),
            },
            "injection": {"mode": mode or self.mode},
        }
        file = self.kubernetes.plan.folder / "values.json"
        file.write_text(json.dumps(values))
        self.helm(
            *("upgrade", "--install", RELEASE, str(charts / "meterfabric"), "-n", SYSTEM, "-f", str(file)),
            *("--wait", "--timeout", f"{SECONDS}s", *options),
        )

    def sql(self, query: str, database: str = "postgres") -> list[list[str]]:
        """The rows of a query in one of the pod's databases, as text."""
        if database not in self.asked:
            self.asked[database] = Direct(lambda: self.database_url(database))
        return self.asked[database].rows(query)

    def database_url(self, database: str = "postgres") -> str:
        """One of the pod's databases as it is reached from here."""
        chosen = ("-n", METERING, "-l", "app=database", "-o", "jsonpath={.items[0].status.podIP}")
        port = self.kubernetes.forward(f"{self.kubectl('get', 'pods', *chosen)}:5432")
        return f"postgresql://usage:{PASSWORD}@127.0.0.1:{port}/{database}"

    def records(self, source: str) -> int:
        """How many different records of a source the sink has."""
        if self.sql("SELECT to_regclass('meterfabric.records')") == [[""]]:
            return 0
        (((count),),) = self.sql(f"SELECT count(DISTINCT id) FROM meterfabric.records WHERE source = '{source}'")
        return int(count)


def helm(kubernetes: Cluster, *arguments: str) -> str:
    """What helm printed. Raises CalledProcessError, whose `stderr` says why."""
    command = [str(kubernetes.programs["helm"]), *arguments]
    environment = os.environ | {"KUBECONFIG": str(kubernetes.plan.kubeconfig)}
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout


def install_kinds(kubernetes: Cluster) -> None:
    """Install the chart of the kinds, and wait until the API server serves them."""
    helm(
        kubernetes,
        "upgrade",
        "--install",
        "kinds",
        str(ROOT / "charts" / "meterfabric-crds"),
        "-n",
        SYSTEM,
        "--create-namespace",
    )
    kubernetes.kubectl("wait", "--for=condition=Established", "crd", "-l", "app.kubernetes.io/part-of=meterfabric")


def images(kubernetes: Cluster) -> Installed:
    """Build what isn't built, and give it to every node."""
    made = {target: product.image(target, print) for target in ("dataplane", "operator", "postgres")}
    for each in made.values():
        kubernetes.load_image(each.archive)
    return Installed(kubernetes, made["dataplane"].name, made["operator"].name, made["postgres"].name)


def database(installed: Installed) -> list[dict[str, Any]]:
    """PostgreSQL in a pod, and the Secret of its URL."""
    labels = {"app": "database"}
    container = {
        "name": "postgres",
        "image": installed.database,
        "imagePullPolicy": "IfNotPresent",
        "args": ["-c", "fsync=off"],
        "env": [{"name": "PASSWORD", "value": PASSWORD}],
        "readinessProbe": {"tcpSocket": {"port": 5432}, "periodSeconds": 1},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "scratch", "mountPath": "/tmp"}],
    }
    volumes: list[dict[str, Any]] = [{"name": name, "emptyDir": {}} for name in ("data", "scratch")]
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "database", "namespace": METERING},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [container], "volumes": volumes}},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "database", "namespace": METERING},
            "spec": {"selector": labels, "ports": [{"port": 5432}]},
        },
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "database", "namespace": METERING},
            "stringData": {"url": URL},
        },
    ]


def kinds(**spec: Any) -> list[dict[str, Any]]:
    """The fabric and its sink."""
    common = {"apiVersion": "meterfabric.io/v1alpha1"}
    small = {"sidecar": {"spool": {"quota": "64Mi"}, "resources": {"cpu": "100m"}}}
    return [
        {
            **common,
            "kind": "MeteringFabric",
            "metadata": {"name": "demo", "namespace": METERING},
            "spec": {**small, "relay": {"replicas": 2, "resources": {"cpu": "100m"}}, **spec},
        },
        {
            **common,
            "kind": "MeteringSink",
            "metadata": {"name": "billing", "namespace": METERING},
            "spec": {
                "fabric": "demo",
                "workers": 1,
                "resources": {"cpu": "250m"},
                "destination": {"postgres": {"secretRef": {"name": "database"}}},
            },
        },
    ]


def namespace(name: str, **labels: str) -> dict[str, Any]:
    """A namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def metering(
    installed: Installed, name: str, count: int, *, pause: float = 0.0, then: str = "", **labels: str
) -> dict[str, Any]:
    """A pod's spec and labels that sends so many records, one request each, and then does as `then` (Python) says.

    `pause`: seconds between two records.
    """
    program = f"""
import json, signal, sys, time, urllib.request
signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # as a first process it would ignore it
for number in range({count}):
    event = {{"specversion": "1.0", "id": str(number), "source": "{name}", "type": "usage", "data": {{"n": number}}}}
    body = json.dumps(event).encode()
    headers = {{"Content-Type": "application/cloudevents+json"}}
    request = urllib.request.Request("http://127.0.0.1:8280/api/v1/events", body, headers)
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 204
    time.sleep({pause})
print("sent", flush=True)
{then}
"""
    container = {
        "name": "meter",
        "image": installed.dataplane,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", program],
    }
    return {
        "metadata": {"labels": {"meterfabric.io/inject": "true", "app": name, **labels}},
        "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 5, "containers": [container]},
    }


def pod(installed: Installed, name: str, count: int, where: str = SHOP, **more: Any) -> dict[str, Any]:
    """The same as a pod."""
    made = metering(installed, name, count, **more)
    made["metadata"] |= {"name": name, "namespace": where}
    return {"apiVersion": "v1", "kind": "Pod", **made}


def is_ready(installed: Installed, kind: str = "meteringfabric", name: str = "demo") -> bool:
    """Whether a fabric or sink says so."""
    return installed.condition(kind, name, METERING, "Ready").get("status") == "True"


def set_up(installed: Installed, *, replicas: int = 2, workers: int = 1, pinned: dict[str, str] | None = None) -> None:
    """Everything, until the fabric is ready. `pinned`: labels of the node that the database is to be on."""
    installed.kubectl("apply", "-f", "-", stdin=json.dumps(namespace(METERING)))
    placed = database(installed)
    placed[0]["spec"]["template"]["spec"]["nodeSelector"] = pinned or {}
    installed.apply(namespace(SHOP, **{"meterfabric.io/fabric": f"{METERING}.demo"}), *placed)
    installed.install()
    fabric, sink = kinds()
    fabric["spec"]["relay"]["replicas"] = replicas
    sink["spec"]["workers"] = workers
    installed.apply(fabric, sink)
    until("the fabric is ready", SECONDS, lambda: is_ready(installed))
