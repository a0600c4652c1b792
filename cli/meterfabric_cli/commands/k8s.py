"""`meterfabric k8s`, also `kubectl meterfabric`: fabrics in a cluster."""

from __future__ import annotations

import argparse
import base64
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from meterfabric_cli import colours
from meterfabric_cli.arguments import (
    EXIT_ERROR,
    EXIT_NOT,
    EXIT_WHOLE,
    Parser,
    Run,
    Subparsers,
    add_audit,
    add_place,
    command,
)
from meterfabric_cli.commands import audit, prove, verify
from meterfabric_cli.errors import CommandError
from meterfabric_cli.in_cluster import fabrics, producers, sinks
from meterfabric_cli.inputs import read_trust
from meterfabric_cli.proof_folder import ProofFiles

if TYPE_CHECKING:
    from meterfabric_cli.in_cluster.api import Api

_KINDS = "apis/meterfabric.io/v1alpha1"
_ASKED_AT_ONCE = 16


def add(commands: Subparsers) -> None:
    """Register the command, with its own."""
    parser = command(
        commands,
        "k8s",
        "look at fabrics in a Kubernetes cluster, audit their sinks, prove their records",
        "meterfabric k8s status\n  kubectl meterfabric producers -n shop",
        lambda _: EXIT_ERROR,
    )
    add_commands(parser, "meterfabric k8s")


def add_commands(parser: Parser, called: str) -> None:
    """Register status, producers, audit and prove with a parser; `called`: how its examples call it."""
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=Parser)

    def add(name: str, what: str, example: str, run: Run) -> Parser:
        made = command(commands, name, what, f"{called} {example}", run)
        made.add_argument("-n", "--namespace", metavar="NAMESPACE", help="only there (default: all namespaces)")
        made.add_argument("--context", metavar="NAME", help="of the kubeconfig (default: its current one)")
        made.add_argument("--kubeconfig", metavar="FILE", help="default: $KUBECONFIG, else ~/.kube/config")
        return made

    for made in (
        add("status", "show fabrics and sinks: what is ready, what isn't and why, the books", "status", _status),
        add("producers", "show the pods that meter: which lag, and why", "producers -n shop", _producers),
        add("audit", "verify every log in a sink and print the books per producer", "audit metering/billing", _audit),
    ):
        made.add_argument("-o", "--output", choices=["json"], help="print the answer as one JSON object")
    _add_sink(made)
    add_audit(made)
    proving = add(
        "prove",
        "fetch the proof of one record and verify it here",
        "prove metering/billing --source //web-0 --id 4711 --out proof",
        _prove,
    )
    _add_sink(proving)
    add_place(proving)


def _add_sink(parser: Parser) -> None:
    parser.add_argument("sink", nargs="?", metavar="[NAMESPACE/]SINK", help="default: the only MeteringSink there is")
    parser.add_argument(
        "--trust", metavar="BUNDLE", help="a trust bundle of your own (default: what the cluster holds, NAME-trust)"
    )
    parser.add_argument(
        "--here",
        action="store_true",
        help="read the sink's PostgreSQL from this machine (default: run in a worker of the sink, beside the records)",
    )


def _api(options: argparse.Namespace) -> Api:
    # The Kubernetes client takes its time, and is an extra.
    from meterfabric_cli.in_cluster.api import Api  # noqa: PLC0415

    return Api(options.kubeconfig, options.context)


def _list(api: Api, options: argparse.Namespace, plural: str) -> list[dict[str, Any]]:
    inside = f"namespaces/{options.namespace}/" if options.namespace else ""
    try:
        return api.objects(f"/{_KINDS}/{inside}{plural}")
    except CommandError as error:
        if getattr(error, "status", None) == 404:
            raise CommandError(
                "this cluster doesn't know Meterfabric's kinds: install charts/meterfabric-crds"
            ) from error
        raise


def _status(options: argparse.Namespace) -> int:
    api = _api(options)
    found = fabrics.views(_list(api, options, "meteringfabrics"), _list(api, options, "meteringsinks"))
    well = bool(found) and all(each.well for each in found)
    if options.output:
        _print_json({"well": well, "fabrics": found})
    elif found:
        sys.stdout.write(fabrics.as_text(found, colours.wanted(sys.stdout)))
    else:
        print("no MeteringFabric is there")
    return EXIT_WHOLE if well else EXIT_NOT


def _producers(options: argparse.Namespace) -> int:
    api = _api(options)
    if options.namespace:
        inside = f"/api/v1/namespaces/{options.namespace}"
        namespaces, pods = [api.get(inside)], api.objects(f"{inside}/pods", producers.SELECTOR)
    else:
        namespaces = api.objects("/api/v1/namespaces", producers.FABRIC)
        pods = api.objects("/api/v1/pods", producers.SELECTOR)
    joined = {each["metadata"]["name"]: each["metadata"].get("labels", {}).get(producers.FABRIC) for each in namespaces}
    pods = producers.metering(pods)

    def answer(pod: dict[str, Any]) -> producers.Answer | None:
        if not producers.is_up(pod):
            return None
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        try:
            return api.page(namespace, name, producers.PAGES, "/status")
        except CommandError as error:
            return f"its sidecar can't be asked: {error}"

    with ThreadPoolExecutor(_ASKED_AT_ONCE) as threads:
        answers = list(threads.map(answer, pods))
    found = [
        producers.producer(pod, joined.get(pod["metadata"]["namespace"]) or "", said)
        for pod, said in zip(pods, answers, strict=True)
    ]
    well = all(each.well for each in found)
    if options.output:
        _print_json({"well": well, "producers": found})
    elif found:
        sys.stdout.write(producers.as_text(found, colours.wanted(sys.stdout)))
    else:
        print(f"no pod with the label {producers.SELECTOR} is there")
    return EXIT_WHOLE if well else EXIT_NOT


def _audit(options: argparse.Namespace) -> int:
    api = _api(options)
    sink = sinks.chosen(_list(api, options, "meteringsinks"), options.sink, options.namespace)
    options.json = bool(options.output)
    if options.here:
        with _trust(api, sink, options.trust) as trust:
            options.trust, options.sink = trust, _url(api, sink)
            return audit.run(options)
    words = ["audit", "--abandoned-after", f"{options.abandoned_after:.3f}s"]
    words += ["--json"] * options.json + ["--columns"] * options.columns
    own = Path(options.trust) if options.trust else None
    if own is not None:
        read_trust(own)
    code, out = _in_worker(api, sink, sinks.command(words, own.read_bytes() if own else None))
    sys.stdout.write(out.decode(errors="replace"))
    return code


def _prove(options: argparse.Namespace) -> int:
    api = _api(options)
    sink = sinks.chosen(_list(api, options, "meteringsinks"), options.sink, options.namespace)
    if options.here:
        options.sink = _url(api, sink)
        code = prove.run(options)
    else:
        words = ["prove", "--source", options.source, "--id", options.id, "--which", str(options.which), "--out", "-"]
        code, out = _in_worker(api, sink, sinks.command(words))
        if code == EXIT_WHOLE:
            ProofFiles.unpack(out).write(options.out)
            print(f"{options.out}: the proof; verified here:")
        else:
            sys.stdout.write(out.decode(errors="replace"))
    if code != EXIT_WHOLE:
        return code
    with _trust(api, sink, options.trust) as trust:
        return verify.run(argparse.Namespace(proof=options.out, trust=trust))


def _in_worker(api: Api, sink: dict[str, Any], words: Sequence[str]) -> tuple[int, bytes]:
    """Exit code 0 or 1, and the output, of a command in one of the sink's workers."""
    namespace = sink["metadata"]["namespace"]
    name = sinks.worker(sink, api.objects(f"/api/v1/namespaces/{namespace}/pods", sinks.selector(sink)))
    ran = api.run(namespace, name, sinks.CONTAINER, words)
    if ran.code not in (EXIT_WHOLE, EXIT_NOT):
        raise sinks.failed(ran.code, ran.err, f"{namespace}/{name}")
    return ran.code, ran.out


def _url(api: Api, sink: dict[str, Any]) -> str:
    where = sinks.url_key(sink)
    if isinstance(where, str):
        return where
    name, key = where
    secret = api.get(f"/api/v1/namespaces/{sink['metadata']['namespace']}/secrets/{name}")
    try:
        return base64.b64decode(secret["data"][key]).decode().strip()
    except (KeyError, ValueError):
        raise CommandError(f"the Secret {name} has no URL under the key {key}") from None


@contextmanager
def _trust(api: Api, sink: dict[str, Any], own: str | None) -> Iterator[str]:
    """The file of the trust bundle to verify with: one's own, or the cluster's for as long as it is needed."""
    if own:
        yield own
        return
    name = f"{sink['spec']['fabric']}-trust"
    held = api.get(f"/api/v1/namespaces/{sink['metadata']['namespace']}/configmaps/{name}")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trust.pem"
        file.write_text(held.get("data", {}).get("trust.pem", ""))
        yield str(file)


def _print_json(content: dict[str, Any]) -> None:
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(content)).decode() + "\n")
