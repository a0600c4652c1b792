"""What happens at the ends of processes: exit without close, and fork."""

import json
import subprocess
import sys
import textwrap

import pytest

from tests.client.running_sidecar import RunningSidecar


def run(program: str, url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), url], capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.parametrize("scheme", ["http", "tcp"])
def test_an_interpreter_that_just_ends_delivers_what_is_pending(scheme: str) -> None:
    with RunningSidecar() as sidecar:
        done = run(
            """
            import sys
            from meterfabric_client import Meter, Options
            m = Meter(sys.argv[1], options=Options(delay=3600))
            for n in range(10):
                m.record(type="cpu", id=str(n))
            """,
            sidecar.url(scheme),
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert len(sidecar.log.records) == 10


def test_an_interpreter_ends_though_nobody_listens() -> None:
    done = run(
        """
        import sys
        from meterfabric_client import Meter, Options
        Meter(sys.argv[1], options=Options(at_exit=0.1)).record(type="cpu")
        """,
        "http://127.0.0.1:1",
    )
    assert done.returncode == 0
    assert "1 records were not delivered" in done.stderr


@pytest.mark.parametrize("scheme", ["http", "tcp"])
def test_after_a_fork_both_meters_deliver_their_own_records_once(scheme: str) -> None:
    with RunningSidecar() as sidecar:
        done = run(
            """
            import os, sys
            from meterfabric_client import Meter, Options
            m = Meter(sys.argv[1], options=Options(delay=3600))
            m.record(type="cpu", id="warm")
            m.flush(10)
            m.record(type="cpu", id="parent, before")
            child = os.fork()
            if child == 0:
                assert m.pending == 0
                m.record(type="cpu", id="child")
                m.close(10)
                os._exit(0 if m.stats.accepted == 1 else 1)
            m.record(type="cpu", id="parent, after")
            m.close(10)
            sys.exit(os.waitpid(child, 0)[1] or m.stats.accepted != 3)
            """,
            sidecar.url(scheme),
        )
        assert (done.returncode, done.stderr) == (0, "")
        ids = sorted(json.loads(record)["id"] for record in sidecar.log.records.values())
        assert ids == ["child", "parent, after", "parent, before", "warm"]


def test_a_client_over_http_needs_neither_zeromq_nor_aiohttp_nor_cryptography() -> None:
    done = run(
        """
        import sys
        from meterfabric_client import Meter
        Meter(sys.argv[1]).close()
        heavy = {"zmq", "aiohttp", "cryptography", "meterfabric_protocol", "meterfabric_runtime"} & set(sys.modules)
        sys.exit(f"imported: {heavy}" if heavy else 0)
        """,
        "http://127.0.0.1:1",
    )
    assert (done.returncode, done.stderr) == (0, "")
