"""Builds the programs of a cluster from their Go modules, once: they are kept in the cache, by version."""

import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path

from tests.cluster import paths, versions
from tests.cluster.versions import Component

Say = Callable[[str], None]

ESTIMATE = "12 to 20 minutes on 2 processors, kube-apiserver alone 4"
SEVERAL = 5
"""So many programs take so little time that no estimate is worth a line."""


class BuildFailed(Exception):
    """A program that the Go toolchain didn't build; the message holds what it said."""


def build(version: str, say: Say, jobs: int = 0, only: Collection[str] = ()) -> dict[str, Path]:
    """Where each program of a cluster is, by its name; those that are missing are built.

    `jobs`: packages compiled at a time; 0 for one on each processor. `only`: these programs alone.
    Raises BuildFailed, versions.UnknownVersion.
    """
    wanted = versions.components(version)
    if only:
        unknown = set(only).difference(*(component.programs for component in wanted))
        if unknown:
            raise BuildFailed(f"no cluster has a program {', '.join(sorted(unknown))}")
        wanted = [_part(component, only) for component in wanted]
    return build_components(wanted, say, jobs)


def build_components(wanted: Collection[Component], say: Say, jobs: int = 0) -> dict[str, Path]:
    """The same for any components."""
    lacking = _lacking(wanted)
    if lacking:
        paths.binaries().mkdir(parents=True, exist_ok=True)
        if len(lacking) > SEVERAL:
            say(f"building {len(lacking)} programs from their Go modules, once: {ESTIMATE}")
        for number, (component, name) in enumerate(lacking, 1):
            say(f"building {name} of {component.folder} ({number} of {len(lacking)})")
            # One lock for each component, so that a small one doesn't wait until somebody's Kubernetes is built.
            with (paths.binaries() / f"{component.folder}.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                _build_program(component, name, jobs or os.cpu_count() or 1, say)
    return {name: path for component in wanted for name, path in _places(component).items()}


def _part(component: Component, only: Collection[str]) -> Component:
    return replace(component, programs={name: each for name, each in component.programs.items() if name in only})


def _lacking(wanted: Collection[Component]) -> list[tuple[Component, str]]:
    return [(each, name) for each in wanted for name, path in _places(each).items() if not path.exists()]


def go_environment(jobs: int, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of `go`: static programs, nothing but what go.sum holds, `jobs` packages at a time."""
    return {
        "GOTOOLCHAIN": "local",
        **environ,
        "CGO_ENABLED": "0",
        "GOFLAGS": f"-p={jobs} -mod=readonly -trimpath -buildvcs=false",
        "GOMAXPROCS": str(jobs),
    }


def _places(component: Component) -> dict[str, Path]:
    return {name: paths.binaries() / component.folder / name for name in component.programs}


def _build_program(component: Component, name: str, jobs: int, say: Say) -> None:
    place = _places(component)[name]
    if place.exists():
        return  # another has built it meanwhile
    if shutil.which("go") is None:
        raise BuildFailed(f"{name} is built with Go 1.26, and there is no `go` in PATH: `make setup` brings one")
    place.parent.mkdir(exist_ok=True)
    unfinished = place.with_name(f".{name}")
    began = time.monotonic()
    command = ["go", "build", "-tags", component.tags, "-ldflags", component.flags, "-o", str(unfinished)]
    done = subprocess.run(
        [*command, component.programs[name]],
        cwd=component.source,
        env=go_environment(jobs, os.environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BuildFailed(f"{component.folder}: {name} wasn't built:\n{done.stdout[-4000:]}")
    unfinished.rename(place)
    say(f"built {name} of {component.folder} in {time.monotonic() - began:.0f} s")
