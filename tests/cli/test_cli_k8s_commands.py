"""`k8s status` and `k8s producers` from the command line, against an API server that knows a few answers."""

import base64
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.cli.made_sink import MadeSink
from tests.cli.running import Command, Done
from tests.cli.test_cli_k8s_fabrics import fabric, sink
from tests.cli.test_cli_k8s_producers import UP, page, pod
from tests.pki import Authority
from tests.sink.postgres_server import PostgresServer

KINDS = "/apis/meterfabric.io/v1alpha1"
Answers = dict[str, list[dict[str, Any]] | dict[str, Any]]


class Handler(BaseHTTPRequestHandler):
    """Lists a collection two objects at a time; what isn't known is 404, as the API says it."""

    answers: Answers

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        found = self.answers.get(parts.path)
        if isinstance(found, list):
            begin = int(parse_qs(parts.query).get("continue", ["0"])[0])
            more = {"continue": str(begin + 2)} if begin + 2 < len(found) else {}
            found = {"metadata": more, "items": found[begin : begin + 2]}
        known = found is not None
        body = json.dumps(found if known else {"message": f"the server could not find {parts.path}"}).encode()
        self.send_response(200 if known else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Cluster:
    """A kubeconfig for that server, and the command line with it."""

    def __init__(self, folder: Path, meterfabric: Command, port: int) -> None:
        self.answers: Answers = {}
        self._meterfabric = meterfabric
        self._kubeconfig = folder / "kubeconfig"
        cluster = {"name": "here", "cluster": {"server": f"http://127.0.0.1:{port}"}}
        context = {"name": "here", "context": {"cluster": "here", "user": "me"}}
        user = {"name": "me", "user": {"token": "secret"}}
        self._kubeconfig.write_text(
            json.dumps({"clusters": [cluster], "contexts": [context], "users": [user], "current-context": "here"})
        )

    def __call__(self, *words: str) -> Done:
        return self._meterfabric("k8s", *words, "--kubeconfig", self._kubeconfig)


@pytest.fixture
def cluster(tmp_path: Path, meterfabric: Command) -> Iterator[Cluster]:
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        made = Cluster(tmp_path, meterfabric, server.server_port)
        Handler.answers = made.answers
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield made
        server.shutdown()
        thread.join()


def named(body: dict[str, Any], name: str, namespace: str = "shop") -> dict[str, Any]:
    return {**body, "metadata": {**body["metadata"], "namespace": namespace, "name": name}}


def test_status_is_yes_where_all_is_well_and_no_where_it_isnt(cluster: Cluster) -> None:
    cluster.answers |= {f"{KINDS}/meteringfabrics": [fabric()], f"{KINDS}/meteringsinks": [sink()]}
    done = cluster("status")
    assert (done.code, done.err) == (0, "")
    assert "metering/main  True   2/2" in done.out
    cluster.answers[f"{KINDS}/meteringsinks"] = [sink("False")]
    done = cluster("status", "-o", "json")
    assert (done.code, done.json["well"]) == (1, False)
    assert done.json["fabrics"][0]["sinks"][0]["conditions"][0]["reason"] == "NoWorkerReady"


def test_one_namespace_is_asked_for_where_that_is_wanted(cluster: Cluster) -> None:
    cluster.answers |= {f"{KINDS}/namespaces/none/{plural}": [] for plural in ("meteringfabrics", "meteringsinks")}
    done = cluster("status", "-n", "none")
    assert (done.code, done.out) == (1, "no MeteringFabric is there\n")


def test_producers_are_listed_page_by_page_and_each_is_asked(cluster: Cluster) -> None:
    pods = [named(UP, f"web-{number}") for number in range(5)] + [named(pod(), "astray", "other")]
    labels = {"meterfabric.io/fabric": "metering.main"}
    cluster.answers |= {
        "/api/v1/namespaces": [{"metadata": {"name": "shop", "labels": labels}}],
        "/api/v1/pods": pods,
        **{f"/api/v1/namespaces/shop/pods/web-{number}:8290/proxy/status": page() for number in range(4)},
    }
    done = cluster("producers", "-o", "json")
    assert (done.code, done.err) == (1, "")
    states = {each["pod"]: (each["state"], each["fabric"]) for each in done.json["producers"]}
    assert states == {
        **{f"web-{number}": ("delivering", "metering.main") for number in range(4)},
        "web-4": ("unknown", "metering.main"),
        "astray": ("no sidecar", ""),
    }
    assert "its sidecar can't be asked" in cluster("producers").out


def test_a_cluster_without_our_kinds_is_told(cluster: Cluster) -> None:
    done = cluster("status")
    assert (done.code, done.out) == (2, "")
    assert "this cluster doesn't know Meterfabric's kinds" in done.err


@pytest.mark.parametrize("command", ["audit", "prove"])
def test_a_sink_whose_workers_are_away_is_told(cluster: Cluster, command: str) -> None:
    cluster.answers |= {f"{KINDS}/meteringsinks": [sink()], "/api/v1/namespaces/metering/pods": []}
    more = ["--source", "a", "--id", "b", "--out", "proof"] if command == "prove" else []
    done = cluster(command, *more)
    assert (done.code, done.out) == (2, "")
    assert "no worker of the sink metering/billing runs" in done.err


def test_a_cluster_that_isnt_there_is_told_in_a_line(meterfabric: Command, tmp_path: Path) -> None:
    done = meterfabric("k8s", "status", "--kubeconfig", tmp_path / "none")
    assert (done.code, done.out) == (2, "")
    assert "no cluster: " in done.err
    away = Cluster(tmp_path, meterfabric, 1)("status")
    assert away.code == 2
    assert "http://127.0.0.1:1: " in away.err
    assert "refused" in away.err


def test_without_its_extra_the_command_says_what_to_install(
    meterfabric: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "kubernetes", None)
    monkeypatch.delitem(sys.modules, "meterfabric_cli.in_cluster.api", raising=False)
    done = meterfabric("k8s", "status")
    assert done.code == 2
    assert "install meterfabric[k8s]" in done.err


@pytest.mark.integration
@pytest.mark.parametrize("by", ["url", "secret"])
def test_a_postgresql_sink_is_audited_and_proven_from_here(
    cluster: Cluster, postgres: PostgresServer, tmp_path: Path, by: str
) -> None:
    held = MadeSink(postgres.empty_database(), tmp_path)
    held.take(held.log().open().records(3))
    chosen = {"url": held.url} if by == "url" else {"secretRef": {"name": "database", "key": "url"}}
    inside = "/api/v1/namespaces/metering"
    cluster.answers |= {
        f"{KINDS}/meteringsinks": [sink(destination={"postgres": chosen})],
        f"{inside}/secrets/database": {"data": {"url": base64.b64encode(held.url.encode()).decode()}},
        f"{inside}/configmaps/main-trust": {"data": {"trust.pem": Path(held.trust).read_text()}},
    }
    audited = cluster("audit", "--here", "-o", "json")
    assert (audited.code, audited.err, audited.json["whole"]) == (0, "", True)
    proven = cluster("prove", "--here", "--source", "//meter", "--id", "event-1", "--out", str(tmp_path / "proof"))
    assert (proven.code, proven.err) == (0, "")
    assert proven.out.endswith("\nholds\n")
    assert cluster("prove", "--here", "--source", "//meter", "--id", "none", "--out", str(tmp_path / "x")).code == 1
    # A bundle of one's own stands over the cluster's.
    (tmp_path / "own.pem").write_bytes(Authority().pem)
    assert cluster("audit", "--here", "--trust", str(tmp_path / "own.pem")).code == 1
