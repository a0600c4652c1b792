"""The agent's loop: a turn every interval, a last one when told to stop."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from pathlib import Path

from kube_usage.agent import Agent, tell
from kube_usage.events import source
from kube_usage.kubelet import Kubelet
from kube_usage.scan import Scan, parse
from meterfabric_client import Meter, MeterError, Rejected

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def main(argv: list[str]) -> int:
    """Run until a signal comes; returns the exit status."""
    options = _options(argv)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    authorities = None if options.insecure_kubelet else options.kubelet_ca
    kubelet = Kubelet(options.kubelet, options.kubelet_port, options.token, authorities)

    def scrape() -> Scan:
        at_ms = time.time_ns() // 1_000_000
        return parse(kubelet.page(), at_ms)

    try:
        with Meter(options.url, source=source(options.node), on_error=_refused) as meter:
            agent = Agent(meter, scrape, options.node, options.state)
            run(agent, stop, options.interval)
    except (MeterError, OSError) as error:
        tell(str(error))
        return 1
    tell(f"{agent.sent} events accepted")
    return 0


def run(agent: Agent, stop: threading.Event, interval: float) -> None:
    """A turn every `interval` seconds until told to stop, and a last one then."""
    begun = time.monotonic()
    turn = 0
    while True:
        last = stop.is_set()
        agent.turn()
        if last:
            return
        # Turns are counted from the beginning, so that slow scans don't add up; turns that are over are left out.
        turn = max(turn + 1, int((time.monotonic() - begun) / interval) + 1)
        stop.wait(max(0.0, begun + turn * interval - time.monotonic()))


def _refused(error: Rejected) -> None:
    tell(f"the sidecar refuses for good {error.record.decode(errors='replace')}: {error}")


def _options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="kube-usage",
        description="Meters the pods of one node: CPU and memory, read from its kubelet, sent as CloudEvents to a"
        " sidecar.",
        epilog="example: python examples/kube-usage --kubelet 10.0.0.7 --node node-1 --state usage.state",
    )
    parser.add_argument("--url", default="http://127.0.0.1:8280", help="the sidecar's ingest (default: %(default)s)")
    parser.add_argument("--interval", type=_seconds, default=60.0, help="seconds between scans (default: %(default)s)")
    parser.add_argument("--kubelet", required=True, metavar="HOST", help="the node's address; in a pod status.hostIP")
    parser.add_argument("--kubelet-port", type=int, default=10250, metavar="PORT", help="default: %(default)s")
    parser.add_argument("--node", default=os.uname().nodename, help="the node's name (default: this host's)")
    parser.add_argument("--state", type=Path, required=True, metavar="FILE", help="where to keep what was measured")
    parser.add_argument("--token", type=Path, default=_ACCOUNT / "token", metavar="FILE", help="default: the pod's")
    parser.add_argument(
        "--kubelet-ca",
        type=Path,
        default=_ACCOUNT / "ca.crt",
        metavar="PEM",
        help="who signs the kubelet's certificate (default: the cluster's authority)",
    )
    parser.add_argument(
        "--insecure-kubelet",
        action="store_true",
        help="don't check the kubelet's certificate: whoever answers at its address then gets the pod's token",
    )
    return parser.parse_args(argv)


def _seconds(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text} is not above zero")
    return value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
