"""What a machine lacks to run a cluster, told before anything is made."""

import ctypes
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import cgroups, paths

# Each program and the Debian package that has it.
_PROGRAMS = {
    "ip": "iproute2",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "setsid": "util-linux",
    "mount": "mount",
    "runc": "runc",
    "iptables": "iptables",
    "conntrack": "conntrack",
}
_CNI_FOLDERS = ("/usr/lib/cni", "/opt/cni/bin")
_CNI_PLUGINS = ("bridge", "host-local", "portmap")
_CONTROLLERS = ("cpu", "cpuset", "memory", "pids")
_INOTIFY = "fs.inotify.max_user_instances"
_INOTIFY_INSTANCES = 24
"""What a cluster of one node takes of them, and some; a kubelet without is never ready and only its log says why."""
_DISK_BYTES = 4 << 30
_MEMORY_BYTES = 2 << 30
_ELSEWHERE = "use a virtual machine, or a cluster that you have"


@dataclass(frozen=True)
class Lack:
    """What is missing and what to do."""

    what: str
    remedy: str


def lacks() -> list[Lack]:
    """All that is missing here, the most fundamental first."""
    found = elementary()
    return found if os.uname().sysname != "Linux" else [*found, *_packages()]


def elementary() -> list[Lack]:
    """What is missing that no package of the system brings."""
    if os.uname().sysname != "Linux":
        return [Lack("Linux", _ELSEWHERE)]
    if os.geteuid() != 0:
        return [Lack("root", f"run as root: namespaces, cgroups and overlay mounts are made; or {_ELSEWHERE}")]
    return [*_kernel(), *_room()]


def cni_plugins() -> str | None:
    """The folder of the CNI plugins."""
    return next(
        (folder for folder in _CNI_FOLDERS if all((Path(folder) / name).exists() for name in _CNI_PLUGINS)), None
    )


def _packages() -> list[Lack]:
    packages = {package: f"the program {name}" for name, package in _PROGRAMS.items() if shutil.which(name) is None}
    if cni_plugins() is None:
        packages["containernetworking-plugins"] = f"the CNI plugins {', '.join(_CNI_PLUGINS)}"
    return [Lack(what, f"apt-get install {package}, or your system's name of it") for package, what in packages.items()]


def _kernel() -> list[Lack]:
    found = []
    if shutil.which("unshare"):
        probe = ["unshare", "--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "--mount-proc", "true"]
        done = subprocess.run(probe, capture_output=True, text=True, check=False)
        if done.returncode:
            found.append(
                Lack(f"namespaces ({done.stderr.strip()})", f"give the container more rights, or {_ELSEWHERE}")
            )
    if "overlay" not in Path("/proc/filesystems").read_text().split():
        found.append(Lack("the file system overlay in the kernel", f"modprobe overlay, or {_ELSEWHERE}"))
    missing = [name for name in _CONTROLLERS if not _has_controller(name)]
    if missing:
        found.append(
            Lack(f"the cgroup controllers {', '.join(missing)}", f"mount them at {cgroups.ROOT}, or {_ELSEWHERE}")
        )
    free = free_inotify_instances(_INOTIFY_INSTANCES)
    if free < _INOTIFY_INSTANCES:
        what = f"inotify instances: {free} are free of the {_INOTIFY_INSTANCES} that a node takes"
        found.append(Lack(what, f"sysctl -w {_INOTIFY}=1024, or take another cluster down"))
    if not os.access(cgroups.ROOT, os.W_OK):
        found.append(Lack(f"a {cgroups.ROOT} that can be written", f"mount it read-write, or {_ELSEWHERE}"))
    return found


def free_inotify_instances(most: int) -> int:
    """How many more inotify instances this user may have, counted up to `most` (inotify(7))."""
    inotify_init = ctypes.CDLL(None).inotify_init
    held = [descriptor for descriptor in (inotify_init() for _ in range(most)) if descriptor >= 0]
    for each in held:
        os.close(each)
    return len(held)


def _has_controller(name: str) -> bool:
    unified = cgroups.ROOT / "cgroup.controllers"
    return name in unified.read_text().split() if unified.exists() else (cgroups.ROOT / name).is_dir()


def _room() -> list[Lack]:
    place = next(folder for folder in (paths.clusters(), *paths.clusters().parents) if folder.exists())
    kind = subprocess.run(["stat", "--file-system", "--format=%T", place], capture_output=True, text=True, check=True)
    found = []
    if kind.stdout.strip() == "overlayfs":
        found.append(
            Lack(f"a disk below {place}: overlay can't be mounted on overlay", "set XDG_CACHE_HOME to a volume")
        )
    if shutil.disk_usage(place).free < _DISK_BYTES:
        found.append(
            Lack(f"{_DISK_BYTES >> 30} GiB free in {place}", "free some, or set XDG_CACHE_HOME to another disk")
        )
    if os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") < _MEMORY_BYTES:
        found.append(Lack(f"{_MEMORY_BYTES >> 30} GiB of memory", _ELSEWHERE))
    return found
