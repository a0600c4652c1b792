"""One target under libFuzzer: `python -m tests.fuzz.engine TARGET COMMAND [libFuzzer's arguments]`.

COMMAND is what libFuzzer runs to start itself again, which it does to merge.
"""

import sys

import atheris  # type: ignore[import-untyped]

with atheris.instrument_imports(include=["meterfabric_protocol", "json.decoder", "json.scanner"]):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """Fuzz until libFuzzer ends the process."""
    _, target, *arguments = sys.argv
    atheris.Setup(arguments, TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
