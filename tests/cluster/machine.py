"""A machine of a cluster: namespaces of mounts, processes, names and network that begin and end with one process.

Killing that first process is the end of everything in the machine, pods with it, and of everything that was mounted
there: the kernel sees to it. So nothing has to be taken down in order, and nothing has to be remembered about what was
started: whoever is in a machine's network namespace belongs to it.
"""

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.cluster.network import NAMESPACES
from tests.cluster.plan import Machine
from tests.cluster.wait import until

# What a kubelet wants of the kernel (/proc/sys) and would set, for this whole machine: so it is shown that it is set.
_SHOWN = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}

_SET_UP = """
set -eu
mount --make-rprivate /
mount --bind "$FOLDER/lib" /var/lib
mount --bind "$FOLDER/log" /var/log
mount -t tmpfs -o mode=755 tmpfs /run
for name in $SHOWN; do mount --bind "$FOLDER/sys/$name" "/proc/sys/$name"; done
mount --make-rshared /
echo "$NAME" > /proc/sys/kernel/hostname
exec "$HELPER" init
"""


def start(machine: Machine, helper: Path) -> None:
    """Start a machine in its network namespace, which is there. Raises CalledProcessError, TimeoutError.

    In it, /var/lib and /var/log are folders of its own on disk, and /run is empty.
    """
    for name in ("lib", "log", "logs"):
        (machine.folder / name).mkdir(parents=True)
    for name, value in _SHOWN.items():
        file = machine.folder / "sys" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{value}\n")
    environment = {
        "FOLDER": str(machine.folder),
        "NAME": machine.name,
        "HELPER": str(helper),
        "SHOWN": " ".join(_SHOWN),
    }
    _launch(
        [
            *("nsenter", f"--net={NAMESPACES / machine.namespace}", "--"),
            *("unshare", "--mount", "--pid", "--uts", "--ipc", "--fork", "--mount-proc", "--kill-child"),
            *("sh", "-c", _SET_UP),
        ],
        machine.folder / "logs" / "machine.log",
        environment,
    )
    until(f"machine {machine.name} is up", 10, lambda: _runs(machine, helper.resolve()))


def spawn(machine: Machine, name: str, command: Sequence[str], path: Sequence[Path]) -> None:
    """Start a program in a machine; what it says goes to logs/NAME.log. `path`: where it looks for others."""
    log = machine.folder / "logs" / f"{name}.log"
    _launch(["nsenter", *_enter(machine), "--", *command], log, {"PATH": search_path(path)})


def run(machine: Machine, command: Sequence[str], stdin: int = subprocess.DEVNULL) -> str:
    """Run a program in a machine and return what it printed. Raises CalledProcessError, whose `stderr` says why."""
    argv = ["nsenter", *_enter(machine), "--", *command]
    return subprocess.run(argv, stdin=stdin, capture_output=True, encoding="utf-8", check=True, cwd="/").stdout


def stop(machine: Machine, program: Path, seconds: float = 5) -> None:
    """Stop a program as a service manager would: ask, wait, then insist. An API server that is watched needs that."""
    program = program.resolve()
    for pid in _processes(machine, program):
        os.kill(pid, signal.SIGTERM)
    try:
        until(f"{program.name} has ended", seconds, lambda: not _processes(machine, program))
    except TimeoutError:
        for pid in _processes(machine, program):
            _kill(pid)
        until(f"{program.name} has ended", 30, lambda: not _processes(machine, program))


def running(machine: Machine, program: Path) -> bool:
    """Whether the program runs in the machine."""
    return bool(_processes(machine, program.resolve()))


def end(namespace: str) -> None:
    """End every process in a network namespace; a machine's first takes its pods along. Raises TimeoutError."""

    def empty() -> bool:
        left = list(_members(namespace))
        for pid in left:
            _kill(pid)
        return not left

    until(f"the processes of {namespace} have ended", 30, empty)


def forward(namespace: str, helper: Path, listener: int, address: str, log: Path) -> None:
    """Pass connections of a listening socket of this machine on to an address as the network namespace sees it."""
    command = [str(helper), "forward", str(listener), address]
    _launch(["nsenter", f"--net={NAMESPACES / namespace}", "--", *command], log, {}, (listener,))


def search_path(before: Sequence[Path]) -> str:
    """A PATH: the folders given, then the system's."""
    return ":".join([*map(str, before), "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"])


def _launch(command: Sequence[str], log: Path, environment: dict[str, str], keep: Sequence[int] = ()) -> None:
    """Start a process that outlives this one and is no child of it."""
    with log.open("ab") as file:
        subprocess.run(
            ["setsid", "--fork", *command],
            env={"PATH": search_path(()), **environment},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            cwd="/",
            pass_fds=keep,
            check=True,
        )


def _enter(machine: Machine) -> list[str]:
    for pid in _members(machine.namespace):
        if _depth(pid)[1:] == ["1"]:
            return [f"--target={pid}", "--mount", "--uts", "--ipc", "--pid", "--net"]
    raise ProcessLookupError(f"machine {machine.name} doesn't run: its log is {machine.folder}/logs/machine.log")


def _runs(machine: Machine, program: Path) -> bool:
    return any(_program(pid) == program and _depth(pid)[1:] == ["1"] for pid in _members(machine.namespace))


def _processes(machine: Machine, program: Path) -> list[int]:
    """Those of the machine itself: pods that use its network are a namespace of processes deeper."""
    return [pid for pid in _members(machine.namespace) if _program(pid) == program and len(_depth(pid)) == 2]


def _members(namespace: str) -> Iterator[int]:
    """The processes whose network namespace this is."""
    try:
        wanted = (NAMESPACES / namespace).stat()
    except FileNotFoundError:
        return
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            try:
                found = os.stat(f"/proc/{entry}/ns/net")
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue  # it has ended, or it has rights that even this root lacks and so is none of ours
            if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
                yield int(entry)


def _depth(pid: int) -> list[str]:
    """The process's id in each namespace of processes that it is in, this machine's first."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return next((line.split()[1:] for line in lines if line.startswith("NSpid:")), [])


def _program(pid: int) -> Path | None:
    try:
        return Path(os.readlink(f"/proc/{pid}/exe"))
    except (FileNotFoundError, ProcessLookupError):
        return None


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
