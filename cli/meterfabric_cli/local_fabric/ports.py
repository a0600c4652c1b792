"""The sidecar's two ports, neighbours on 127.0.0.1: the one asked for, or any that will still be there later.

A process that is started again must get its ports again, for those who send to it. Ports that the system hands to
clients won't do: while the process is down another connection may leave from that very port (even a client's own, that
tries again), and the system then keeps the port for a minute after its end.
"""

import random
import socket
from pathlib import Path
from typing import Final

from meterfabric_cli.errors import CommandError

_FIRST: Final = 10_000
_CLIENTS: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_TRIES: Final = 1_000


def choose(port: int) -> int:
    """`port` where it and the next one are free, for 0 one that is, below those for clients.

    Raises CommandError, which says at once what the sidecar would say in its log.
    """
    if port:
        _try(port)
        return port
    clients = _first_of_clients()
    # Where clients may have nearly all, the risk is taken.
    end = clients - 2 if clients > _FIRST + _TRIES else 65_534
    for _ in range(_TRIES):
        found = random.randrange(_FIRST, end + 1)  # noqa: S311 - any will do
        try:
            _try(found)
        except CommandError:
            continue
        return found
    raise CommandError(f"no two neighbouring ports from {_FIRST} to {end} are free on 127.0.0.1")


def _try(port: int) -> None:
    for number in (port, port + 1):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", number))
            except OSError as error:
                raise CommandError(f"--port {port}: {number} on 127.0.0.1: {error.strerror}") from error


def _first_of_clients() -> int:
    try:
        return int(_CLIENTS.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 32_768
