"""How the demo's commands are shown, and what becomes of those that fail."""

import io
import os
import sys
from pathlib import Path

import pytest

from kube_demo.terminal import Commands, DemoFailed

SAYS = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(int(sys.argv[1]))"


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def commands(tmp_path: Path, out: io.StringIO) -> Commands:
    return Commands(tmp_path, {"PATH": os.defpath}, out)


def test_a_command_is_shown_as_it_is_typed_with_what_it_says_and_its_output_is_returned(
    commands: Commands, out: io.StringIO
) -> None:
    assert commands.run(sys.executable, "-c", SAYS, "0", spoken="says well") == "out\n"
    assert out.getvalue() == "$ says well\n  err\n"


def test_what_a_reader_wants_to_see_is_shown_too(commands: Commands, out: io.StringIO) -> None:
    commands.run(sys.executable, "-c", SAYS, "0", spoken="says", printed=True)
    assert sorted(out.getvalue().splitlines()) == ["  err", "  out", "$ says"]


def test_a_quiet_command_says_everything_when_it_fails(commands: Commands, out: io.StringIO) -> None:
    commands.run(sys.executable, "-c", SAYS, "0", spoken="says", quiet=True)
    assert out.getvalue() == "$ says\n"
    with pytest.raises(DemoFailed, match="status 3"):
        commands.run(sys.executable, "-c", SAYS, "3", spoken="says", quiet=True)
    assert {"  err", "  out"} <= set(out.getvalue().splitlines())


def test_a_question_that_fails_is_told_by_what_the_command_said(commands: Commands) -> None:
    with pytest.raises(DemoFailed, match=r"^err$"):
        commands.ask(sys.executable, "-c", SAYS, "1")


def test_a_wait_ends_when_it_is_so_or_says_how_far_it_came(commands: Commands) -> None:
    answers = iter([(False, "1 of 2"), (True, "2 of 2")])
    commands.wait("both", 30, lambda: next(answers))
    with pytest.raises(DemoFailed, match="both: not after 0 s; 1 of 2"):
        commands.wait("both", 0, lambda: (False, "1 of 2"))


def test_variables_are_those_given_and_no_others(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/another")
    shown = "import os; print(os.environ.get('KUBECONFIG'))"
    assert commands.ask(sys.executable, "-c", shown) == "None\n"
    assert commands.within(KUBECONFIG="/ours").ask(sys.executable, "-c", shown) == "/ours\n"
