"""The files of our cgroups, from ours up to the mount's root, of version 1 or 2 (cgroups(7), proc(5))."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

_SELF: Final = "proc/self"


def text(path: Path) -> str:
    """What a file says, nothing where it can't be read."""
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def files(root: Path, controller: str, one: tuple[str, ...], two: tuple[str, ...]) -> Iterator[tuple[Path, ...]]:
    """The files ``one`` (version 1's names) or ``two`` of each cgroup that we can see and that `controller` counts for.

    ``root``: where `proc` and `sys` are.
    """
    ours: dict[str, str] = {}
    for line in text(root / _SELF / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "" or controller in controllers.split(","):
            ours["cgroup" if controllers else "cgroup2"] = path
    for line in text(root / _SELF / "mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        fields, (kind, _, options) = before.split(), after.split(" ", 2)
        if kind not in ours or (kind == "cgroup" and controller not in options.split(",")):
            continue
        top = root / fields[4].lstrip("/")
        for folder in _folders(PurePosixPath(ours[kind]), PurePosixPath(fields[3])):
            yield tuple(top / folder / name for name in (two if kind == "cgroup2" else one))


def _folders(path: PurePosixPath, mounted: PurePosixPath) -> list[PurePosixPath]:
    """The cgroup and those above it, relative to the mount. What lies outside of it can't be seen: a container's own
    cgroup is mounted as if it were the root."""
    if ".." in path.parts or not path.is_relative_to(mounted):
        return [PurePosixPath()]
    inside = path.relative_to(mounted)
    return [inside, *inside.parents]
