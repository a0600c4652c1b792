"""Kubernetes clusters of this machine's own, for tests and for people: `python -m tests.cluster --help`."""

import argparse
import subprocess
import sys
from pathlib import Path

from tests.cluster import build, builder, cluster, lock, machine, preflight, product, register, versions
from tests.cluster.plan import BadPlan, make_plan

ERRORS = (
    cluster.Unfit,
    build.BuildFailed,
    builder.ImageFailed,
    versions.UnknownVersion,
    BadPlan,
    LookupError,
    TimeoutError,
)


def main() -> int:
    """Do what the command line says; 1 where it can't be done, and why on standard error."""
    arguments = _parser().parse_args()
    try:
        _do(arguments)
    except ERRORS as error:
        print(f"cluster: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"cluster: {error}\n{error.stderr or ''}", file=sys.stderr)
        return 1
    return 0


def _do(arguments: argparse.Namespace) -> None:
    match arguments.command:
        case "check":
            cluster.check(preflight.elementary())
        case "build":
            for name, path in build.build(arguments.version, _say, arguments.jobs, arguments.programs).items():
                print(f"{name}\t{path}")
        case "up":
            plan = make_plan(arguments.name, arguments.version, arguments.nodes)
            if arguments.keep and cluster.kept(plan, _say):
                _say(f"{plan.name} is up: KUBECONFIG={plan.kubeconfig}")
            else:
                cluster.up(plan, _say, jobs=arguments.jobs)
        case "down":
            names = [entry.name for entry in register.entries()] if arguments.all else [arguments.name]
            for name in names:
                cluster.down(name)
        case "status":
            _status()
        case "kubeconfig":
            print(cluster.find(arguments.name, _say).plan.kubeconfig)
        case "image":
            for target in arguments.targets or product.targets():
                made = product.image(target, _say)
                if arguments.push:
                    to = f"{arguments.push.rstrip('/')}/{target}:{made.name.rpartition(':')[2]}"
                    _say(f"pushing {to}")
                    builder.push(made.archive, made.name, to)
                    print(to)
                else:
                    print(f"{made.name}\t{made.archive}")
        case "load-image":
            found = cluster.find(arguments.name, _say)
            for archive in arguments.archives:
                _say(f"loading {archive.name}")
                found.load_image(archive)
        case "lock":
            lock.lock(arguments.kubernetes)


def _status() -> None:
    for entry in register.entries():
        state = "left by a killed run" if entry.abandoned else "for a run of tests" if entry.owner else "for people"
        print(f"{entry.name}: Kubernetes {entry.version}, {entry.nodes} node(s), {state}, {entry.folder}")
        if entry.version not in versions.known():
            continue
        found = cluster.find(entry.name, _say)
        for each in found.plan.machines:
            programs = cluster.NODE if each.pods else cluster.CONTROL_PLANE
            lacking = [name for name in programs if not machine.running(each, found.programs[name])]
            print(f"  {each.name}: " + (f"not running: {', '.join(lacking)}" if lacking else "running"))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    version = argparse.ArgumentParser(add_help=False)
    version.add_argument("--version", default=versions.DEFAULT, help=f"of Kubernetes: {', '.join(versions.known())}")
    version.add_argument("--jobs", type=int, default=0, help="packages compiled at a time; the processors by default")
    name = argparse.ArgumentParser(add_help=False)
    name.add_argument("--name", default="dev", help="of the cluster; dev by default")
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check", help="say what this machine lacks that no package of its system brings")
    programs = commands.add_parser("build", parents=[version], help="build the programs, once, and say where they are")
    programs.add_argument("programs", nargs="*", metavar="PROGRAM", help="such as helm; all by default")
    up = commands.add_parser("up", parents=[version, name], help="bring a cluster up, in place of one of that name")
    up.add_argument("--nodes", type=int, default=1)
    up.add_argument("--keep", action="store_true", help="leave one that is up as it is")
    down = commands.add_parser("down", parents=[name], help="remove a cluster and everything of it")
    down.add_argument("--all", action="store_true", help="remove every cluster of this machine")
    commands.add_parser("status", help="what clusters there are and what runs of them")
    commands.add_parser("kubeconfig", parents=[name], help="print the place of a cluster's kubeconfig")
    image = commands.add_parser("image", help="build the images of the Dockerfile unless they are there; say where")
    targets = f"of {', '.join(product.targets())}, which are the default, {', '.join(product.examples())}"
    image.add_argument("targets", nargs="*", metavar="TARGET", help=targets)
    image.add_argument(
        "--push", metavar="REGISTRY", help="push them there, such as registry.example/me, and say as what"
    )
    load = commands.add_parser("load-image", parents=[name], help="give every node the images of archives")
    load.add_argument("archives", nargs="+", type=Path, metavar="ARCHIVE")
    commands.add_parser("lock", help="write go.mod and go.sum for another Kubernetes").add_argument("kubernetes")
    return parser


if __name__ == "__main__":
    sys.exit(main())
