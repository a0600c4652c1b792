"""The command line's frame: errors in one line, a help that shows an example."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from meterfabric_protocol.notation import seconds

Subparsers = Any  # argparse doesn't name the type in public
Run = Callable[[argparse.Namespace], int]

EXIT_WHOLE = 0
EXIT_NOT = 1
"""What was asked was done, and the answer is no."""
EXIT_ERROR = 2
"""What was asked couldn't be done."""

EXIT_INTERRUPTED = 130
EXIT_CODES = (
    "exit codes: 0 done, and the answer is yes; 1 done, and the answer is no (not whole, not found, does not hold,"
    " refused, not ready); 2 not done, and one line on standard error says why; 130 interrupted"
)

_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h))+")


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage before it."""

    def error(self, message: str) -> NoReturn:
        """See argparse."""
        print(f"{self.prog}: {message} (see {self.prog} --help)", file=sys.stderr)
        sys.exit(EXIT_ERROR)


def command(commands: Subparsers, name: str, what: str, example: str, run: Run) -> Parser:
    """Register a command: `what` it does in one sentence, and an `example` of how it is called."""
    parser: Parser = commands.add_parser(
        name,
        help=what,
        description=f"{what[0].upper()}{what[1:]}.",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def add_sink(parser: Parser) -> None:
    """`--sink SINKURL`."""
    parser.add_argument(
        "--sink",
        required=True,
        metavar="SINKURL",
        help="file:DIR, sqlite:PATH or postgresql://…: where the sink writes",
    )


def add_record(parser: Parser) -> None:
    """`--source S --id ID`: all records with both, whichever logs they are in."""
    parser.add_argument("--source", required=True, help="the record's source")
    parser.add_argument("--id", required=True, help="the record's id")


def add_place(parser: Parser, or_else: str = "") -> None:
    """Which record to prove, and where to write that; `or_else`: what OUT may be besides."""
    add_record(parser)
    parser.add_argument(
        "--which",
        type=_number,
        default=1,
        metavar="N",
        help="of several records with this source and id the one to prove, counted from 1 (default: %(default)s)",
    )
    out = f"the folder to write, made if need be{or_else}"
    parser.add_argument("--out", required=True, metavar="OUT", type=Path, help=out)


def add_audit(parser: Parser) -> None:
    """What to audit, and how to judge what is pending."""
    parser.add_argument(
        "--columns",
        action="store_true",
        help="also hold the queryable columns against each record's bytes (about twice the time)",
    )
    parser.add_argument(
        "--abandoned-after",
        type=duration,
        default="168h",
        metavar="DURATION",
        help="a log that isn't closed and sent nothing for so long is abandoned, its rest no longer pending"
        " (default: %(default)s)",
    )


def no_record(options: argparse.Namespace) -> str:
    """What to say where no record has both."""
    return f"no record has source {options.source!r} and id {options.id!r}; audit counts what is erased or missing"


def add_trust(parser: Parser) -> None:
    """`--trust BUNDLE`."""
    parser.add_argument(
        "--trust", required=True, metavar="BUNDLE", help="the fabric's roots, PEM; local: DIR/trust.pem"
    )


def duration(text: str) -> float:
    """Seconds of a duration such as 90s, 1h30m."""
    if not _DURATION.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no duration such as 90s, 1h30m, 168h")
    return seconds(text)


def _number(text: str) -> int:
    if text.isdecimal() and int(text):
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
