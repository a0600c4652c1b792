"""The errors of the protocol, so that a caller at a border catches one type and nothing else can escape a decoder."""


class ProtocolError(Exception):
    """Base of every error that a peer's bytes can cause in this package."""


class Malformed(ProtocolError):
    """Bytes that aren't what they should be: the one error every decoder raises.

    `what` names the thing that was read ("checkpoint", "batch header"), `detail` says what is wrong with it,
    with the limit and the value seen where there are such.
    """

    def __init__(self, what: str, detail: str) -> None:
        super().__init__(what, detail)
        self.what = what
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.what}: {self.detail}"


class ProofError(Malformed):
    """A Merkle proof that is too short, too long or leads to another root than it should."""


class BadSignature(ProtocolError):
    """A signature by the wanted key that is missing, doubled, or doesn't verify over these bytes."""

    def __init__(self, what: str, detail: str) -> None:
        super().__init__(what, detail)
        self.what = what
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.what}: {self.detail}"
