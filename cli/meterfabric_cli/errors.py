"""What a command says when it can't do what was asked."""


class CommandError(Exception):
    """One line for the person at the terminal, naming what is wrong and what to do; the command ends with code 2."""
