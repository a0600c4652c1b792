"""The ports of a local fabric's sidecar."""

import socket
from pathlib import Path

import pytest

from meterfabric_cli.errors import CommandError
from meterfabric_cli.local_fabric import ports


def test_any_port_is_one_that_no_client_is_given() -> None:
    clients = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    chosen = {ports.choose(0) for _ in range(20)}
    assert len(chosen) > 1
    assert all(10_000 <= port < port + 1 < clients for port in chosen)


@pytest.mark.parametrize("said", ["1024 65535\n", "", "none", None])
def test_there_is_one_whatever_the_system_says_of_clients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str | None
) -> None:
    monkeypatch.setattr(ports, "_CLIENTS", tmp_path / "range")
    if said is not None:
        (tmp_path / "range").write_text(said)
    assert 10_000 <= ports.choose(0) <= 65_534


@pytest.mark.parametrize("which", [0, 1])
def test_a_port_that_is_taken_is_named(which: int) -> None:
    port = ports.choose(0)
    assert ports.choose(port) == port
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port + which))
        with pytest.raises(CommandError, match=f"--port {port}: {port + which} on 127.0.0.1"):
            ports.choose(port)


def test_a_client_that_left_from_a_port_keeps_it_from_who_listens() -> None:
    """Why ports for clients won't do: the operating system's rule that the choice relies on."""
    port = ports.choose(0)
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        client.bind(("127.0.0.1", port))
        client.connect(server.getsockname())
        accepted, _ = server.accept()
        with accepted:
            client.close()
            assert accepted.recv(1) == b""
        with pytest.raises(CommandError, match="in use"):
            ports.choose(port)
