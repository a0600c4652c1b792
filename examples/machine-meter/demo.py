"""`make demo-local`: meter this machine through a fabric that loses a relay on the way, then audit, prove and bill.

Everything is done by the commands that a user has; this script only calls them in turn and says what it calls.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
FABRIC = HERE.parent / "fabric.yaml"
METERFABRIC = [sys.executable, "-m", "meterfabric_cli.main"]
_READY_SECONDS = 60
_DRAIN_SECONDS = 60


def main() -> int:
    """Run the demo; returns 0 only when the audit found the books whole and the proof held."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dir", type=Path, default=Path("demo"), help="made anew (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8280, help="where the sidecar listens (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=30, help="how long to meter (default: %(default)s)")
    options = parser.parse_args()
    for port in (options.port, options.port + 1):
        if not is_free(port):
            return fail(f"something else listens on 127.0.0.1:{port}; choose another: --port N")
    shutil.rmtree(options.dir, ignore_errors=True)
    options.dir.mkdir(parents=True)
    url = f"http://127.0.0.1:{options.port}"
    run = options.dir / "run"

    say("A fabric on this machine: a sidecar, two relays, two sinks")
    local = start([*METERFABRIC, "local", "--fabric", str(FABRIC), "--dir", str(run), "--port", str(options.port)])
    try:
        wait_until_ready(local, url)
        say("Who uses this machine? Every process's CPU and memory, once a second, by user")
        meter = start(
            [sys.executable, str(HERE), "--url", url, "--interval", "1", "--duration", f"{options.seconds:g}"]
        )
        time.sleep(options.seconds / 2)
        kill_a_relay(local.pid, url)
        if meter.wait(timeout=options.seconds + 60) != 0:
            return fail("the meter could not hand over its records")
        command(*METERFABRIC, "status", "--dir", str(run))
        say("Ctrl-C: drain, then stop")
    finally:
        stop(local)
    return audit_and_prove(run, options.dir)


def audit_and_prove(run: Path, folder: Path) -> int:
    """Audit the sinks, prove one record and verify the proof, and show who used how much."""
    database = next(run.glob("sinks/*/records.db"))
    sink, trust, out = f"sqlite:{database}", str(run / "trust.pem"), folder / "proof"
    say("Did every record arrive, unaltered? The auditor's answer, from each sink's bytes alone")
    files = [f"file:{index.parent}" for index in run.glob("sinks/*/index.db")]
    for audited in (sink, *files):
        if command(*METERFABRIC, "audit", "--sink", audited, "--trust", trust) != 0:
            return fail("the books are not whole")
    source, event = one_record(database)
    say("A proof of one of them, for whoever doubts it")
    proved = command(*METERFABRIC, "prove", "--sink", sink, "--source", source, "--id", event, "--out", str(out))
    if proved != 0:
        return fail("no proof")
    for name in ("record.json", "record.tlog-proof"):
        print(f"--- {name}")
        print((out / name).read_text().strip())
    say("Verified with the proof and the trust bundle alone, no network")
    if command(*METERFABRIC, "verify", str(out), "--trust", trust) != 0:
        return fail("the proof does not hold")
    say("The bill")
    print_totals(database)
    return 0


def kill_a_relay(root: int, url: str) -> None:
    """Send SIGKILL to the relay that the records go through, among the processes that `root` started."""
    with urllib.request.urlopen(f"{url}/status", timeout=5) as answer:
        sinks = json.load(answer)["logs"][-1]["sinks"]
    used = next(sink["relay"] for sink in sinks.values() if sink["relay"])
    for pid in map(int, Path(f"/proc/{root}/task/{root}/children").read_text().split()):
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
        if b"meterfabric_relay" in words and f"{used}.json".encode() in words:
            say(f"kill -9 {pid}: {used}, which the records go through, dies")
            os.kill(pid, signal.SIGKILL)
            return
    raise RuntimeError(f"{used} is not running")


def one_record(database: Path) -> tuple[str, str]:
    """The source and id of the record in the middle."""
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as sink:
        (count,) = sink.execute("SELECT count(*) FROM records").fetchone()
        source, event = sink.execute(
            "SELECT source, id FROM records ORDER BY origin, idx LIMIT 1 OFFSET ?", (count // 2,)
        ).fetchone()
    sink.close()
    return str(source), str(event)


def print_totals(database: Path) -> None:
    """Print CPU seconds, memory and intervals by user."""
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as sink:
        rows = sink.execute(
            """SELECT subject, sum(json_extract(data, '$.cpu_seconds')),
                      sum(json_extract(data, '$.memory_byte_seconds')) / 1073741824.0 / 3600, count(*)
               FROM records GROUP BY subject ORDER BY 2 DESC"""
        ).fetchall()
    sink.close()
    print(f"{'user':<20} {'CPU seconds':>12} {'GiB hours':>12} {'records':>8}")
    for user, cpu, memory, records in rows:
        print(f"{user:<20} {cpu:>12.2f} {memory:>12.5f} {records:>8}")


def wait_until_ready(local: subprocess.Popen[bytes], url: str) -> None:
    """Wait until the sidecar takes records; raises RuntimeError when the fabric ends or takes too long."""
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline and local.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError("the fabric did not start")


def is_free(port: int) -> bool:
    """Whether a server could listen on this port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def start(words: list[str]) -> subprocess.Popen[bytes]:
    """Show a command and start it."""
    print(f"$ {spoken(words)}", flush=True)
    return subprocess.Popen(words, stdin=subprocess.DEVNULL)


def command(*words: str) -> int:
    """Show a command, run it, and return its exit status."""
    return start(list(words)).wait()


def stop(local: subprocess.Popen[bytes]) -> None:
    """Drain and stop the fabric as Ctrl-C does."""
    local.send_signal(signal.SIGINT)
    try:
        local.wait(timeout=_DRAIN_SECONDS)
    except subprocess.TimeoutExpired:
        local.kill()
        local.wait()


def spoken(words: list[str]) -> str:
    """A command as a person would type it."""
    text = shlex.join(words)
    return text.replace(shlex.join(METERFABRIC), "meterfabric").replace(sys.executable, "python")


def say(text: str) -> None:
    """A heading."""
    print(f"\n== {text}", flush=True)


def fail(text: str) -> int:
    """Say what went wrong; returns the exit status for it."""
    print(f"demo: {text}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
