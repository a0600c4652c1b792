"""The program that `helm test` runs, against pages as the operator's replicas serve them."""

import importlib.util
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import ModuleType

import pytest

from tests.charts.helm import CHARTS


@pytest.fixture
def ready() -> ModuleType:
    """The program, patient for no time."""
    spec = importlib.util.spec_from_file_location("chart_ready", CHARTS / "meterfabric" / "files" / "ready.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    made.SECONDS = 0.0  # type: ignore[attr-defined]
    return made


@contextmanager
def replica(address: str, port: int, leader: float) -> Iterator[int]:
    """A replica at one address of the loopback; its port."""

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(
                f"# TYPE meterfabric_operator_leader gauge\nmeterfabric_operator_leader {leader}\n".encode()
            )

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer((address, port), Pages) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


Serve = Callable[[dict[str, float]], None]


@pytest.fixture
def serve(ready: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Replicas by address, behind one name."""
    with ExitStack() as stack:

        def start(replicas: dict[str, float]) -> None:
            port = 0
            for address, leader in replicas.items():
                port = stack.enter_context(replica(address, port, leader))
            monkeypatch.setattr(ready, "PORT", port)
            monkeypatch.setattr(ready, "addresses", lambda host: set(replicas))

        yield start


def test_all_replicas_and_one_that_acts_are_well(
    ready: ModuleType, serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    serve({"127.0.0.1": 0.0, "127.0.0.2": 1.0})
    ready.main("operator.sys.svc", 2)
    assert capsys.readouterr().out == "2 replicas are ready, one of them acts\n"


@pytest.mark.parametrize(
    ("replicas", "says"),
    [
        ({"127.0.0.1": 1.0}, "1 of 2 replicas are ready"),
        ({"127.0.0.1": 0.0, "127.0.0.2": 0.0}, "0 replicas act; one is to"),
        ({"127.0.0.1": 1.0, "127.0.0.2": 1.0}, "2 replicas act; one is to"),
    ],
)
def test_what_is_missing_is_said(ready: ModuleType, serve: Serve, replicas: dict[str, float], says: str) -> None:
    serve(replicas)
    with pytest.raises(SystemExit) as ended:
        ready.main("operator.sys.svc", 2)
    assert ended.value.code == says


def test_a_name_that_nobody_knows_is_said(ready: ModuleType) -> None:
    with pytest.raises(SystemExit) as ended:
        ready.main("nobody.invalid", 2)
    assert str(ended.value.code).startswith("nobody.invalid: ")
