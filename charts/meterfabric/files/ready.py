"""What `helm test` runs: waits until all replicas of the operator are ready and one of them acts.

python ready.py HOST REPLICAS
"""

import re
import socket
import sys
import time
from urllib.request import urlopen

PORT = 8080
SECONDS = 60.0


def problem(host: str, replicas: int) -> str:
    """What isn't as it is to be, or nothing. Raises OSError."""
    found = addresses(host)
    if len(found) != replicas:
        return f"{len(found)} of {replicas} replicas are ready"
    acting = sum(bool(re.search(r"^meterfabric_operator_leader 1\.0$", page(each), re.MULTILINE)) for each in found)
    return "" if acting == 1 else f"{acting} replicas act; one is to"


def addresses(host: str) -> set[str]:
    """Those of the replicas that are ready."""
    return {str(each[4][0]) for each in socket.getaddrinfo(host, PORT, type=socket.SOCK_STREAM)}


def page(address: str) -> str:
    """The metrics of one replica."""
    host = f"[{address}]" if ":" in address else address
    with urlopen(f"http://{host}:{PORT}/metrics", timeout=10) as answer:
        text: str = answer.read().decode()
    return text


def main(host: str, replicas: int) -> None:
    """Exits with what is wrong where that doesn't mend itself."""
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            wrong = problem(host, replicas)
        except OSError as error:
            wrong = f"{host}: {error}"
        if not wrong:
            print(f"{replicas} replicas are ready, one of them acts")
            return
        if time.monotonic() > deadline:
            sys.exit(wrong)
        time.sleep(1)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
