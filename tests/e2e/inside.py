"""Ways into a cluster's network from this machine."""

import ctypes
import json
import os
import subprocess
from collections.abc import Sequence
from typing import Any
from urllib.request import urlopen

from tests.cluster.network import NAMESPACES
from tests.cluster.plan import Machine

_NETWORK = 0x40000000


def enter_network(machine: Machine) -> None:
    """From now on the calling thread, it alone, opens its connections in that machine's network (setns(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    with (NAMESPACES / machine.namespace).open() as file:
        if libc.setns(file.fileno(), _NETWORK):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), machine.namespace)


def page(address: str, port: int, name: str, seconds: float = 2.0) -> dict[str, Any]:
    """What a page says, asked from within. Raises OSError, ValueError."""
    with urlopen(f"http://{address}:{port}/{name}", timeout=seconds) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def in_network(machine: Machine, command: Sequence[str]) -> str:
    """What a program printed that ran in the machine's network. Raises CalledProcessError, whose `stderr` says why."""
    argv = ["nsenter", f"--net={NAMESPACES / machine.namespace}", *command]
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True).stdout
