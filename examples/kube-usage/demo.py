"""`make demo`: a Kubernetes whose own pods are metered, billed and audited, while a relay dies.

Everything is done by commands that a person could type, and each is shown as it is run. It may be repeated: what is
there is used. In a cluster of this machine's own, or with `--cluster current` in that of the current context.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
import time
from pathlib import Path

from kube_demo import ground, installing, showing
from kube_demo.terminal import DemoFailed


def main(argv: list[str]) -> int:
    """Do what is asked; 0 when the audit found the books whole and the proof held."""
    options = _parser().parse_args(argv)
    folder = options.dir.absolute()
    try:
        match options.what:
            case "check":
                if options.cluster == "own":
                    ground.check()
            case "up":
                _up(options, folder)
            case "down":
                _down(options, folder)
    except DemoFailed as error:
        print(f"\ndemo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ndemo: stopped; what is there stays, and `make demo` goes on with it", file=sys.stderr)
        return 130
    return 0


def _up(options: argparse.Namespace, folder: Path) -> None:
    begun = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    if options.cluster == "own":
        where = ground.own(options.name)
    else:
        where = ground.current(options.registry.rstrip("/"), options.tag)
    environment = folder / "env"
    lines = [f"export {name}={shlex.quote(value)}" for name, value in where.environment.items()]
    environment.write_text("\n".join([*lines, ""]))
    installing.install(where, folder)
    showing.show(where.commands, folder)
    where.commands.say(f"Done, in {time.monotonic() - begun:.0f} s. It stays up: look around")
    print(_NEXT.format(environment=installing.short(environment), down=where.down))


def _down(options: argparse.Namespace, folder: Path) -> None:
    if options.cluster == "own":
        ground.remove(options.name)
    else:
        commands, _ = ground.reached()
        installing.uninstall(commands)
    shutil.rmtree(folder, ignore_errors=True)


_NEXT = """
  . {environment}      # sets KUBECONFIG and PATH
  kubectl meterfabric status
  kubectl meterfabric producers
  kubectl get pods --all-namespaces
  kubectl logs --namespace kube-usage daemonset/kube-usage --container agent

  {down}      # takes it down; until then it keeps metering
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["check", "up", "down"], help="check: whether this machine can run a cluster")
    parser.add_argument("--cluster", choices=["own", "current"], default="own", help="default: %(default)s")
    parser.add_argument("--name", default="demo", help="of the own cluster (default: %(default)s)")
    parser.add_argument("--registry", default="", help="for --cluster current: where images are pushed and pulled")
    parser.add_argument("--tag", default="", help="of images that are in the registry: nothing is built or pushed")
    parser.add_argument("--dir", type=Path, default=Path("demo/kubernetes"), help="default: %(default)s")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
