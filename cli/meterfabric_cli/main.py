"""The command `meterfabric`: reads the command line, runs the command it names, turns its errors into one line."""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Sequence

from meterfabric_cli.arguments import EXIT_CODES, EXIT_ERROR, EXIT_INTERRUPTED, Parser
from meterfabric_cli.errors import CommandError

_COMMANDS = ("local", "send", "status", "audit", "prove", "verify", "erase", "k8s")
"""Modules of meterfabric_cli.commands, in the order of the help."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 done and the answer is no, 2 not done."""
    parser = Parser(
        prog="meterfabric",
        description="Carries usage records from where they were measured to where they are billed, and proves it.",
        epilog=EXIT_CODES,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=Parser)
    words = sys.argv[1:] if arguments is None else arguments
    # Only what is called is imported: `verify` needs no web server and no progress bar, and each takes its time.
    for name in words[:1] if words and words[0] in _COMMANDS else _COMMANDS:
        importlib.import_module(f"meterfabric_cli.commands.{name}").add(commands)
    return _run(parser, words)


def kubectl_plugin(arguments: Sequence[str] | None = None) -> int:
    """`kubectl meterfabric`: the commands of `meterfabric k8s` (kubectl runs kubectl-NAME for `kubectl NAME`)."""
    parser = Parser(
        prog="kubectl meterfabric",
        description="Looks at fabrics in a Kubernetes cluster, audits their sinks, proves their records.",
        epilog=EXIT_CODES,
    )
    importlib.import_module("meterfabric_cli.commands.k8s").add_commands(parser, "kubectl meterfabric")
    return _run(parser, sys.argv[1:] if arguments is None else arguments)


def _run(parser: Parser, words: Sequence[str]) -> int:
    options = parser.parse_args(words)
    # What records say of themselves may be beyond what this terminal can show.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code: int = options.run(options)
        sys.stdout.flush()
    except CommandError as error:
        # What a database says of itself may take several lines.
        print(f"meterfabric: {' '.join(str(error).split())}", file=sys.stderr)
        return EXIT_ERROR
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output, `head` perhaps, has enough; the interpreter must not try to flush once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_ERROR
    return code


if __name__ == "__main__":
    sys.exit(main())
