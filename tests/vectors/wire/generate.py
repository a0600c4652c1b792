"""Makes the vectors of the wire: `python -m tests.vectors.wire.generate` from the top of the tree.

One envelope of every message, a HELLO and an answer of every kind, signed by the keys of `tests.vectors.make`.
"""

import json
from pathlib import Path

from meterfabric_protocol import message as m
from meterfabric_protocol.cosignature import cosign
from meterfabric_protocol.delivery.answer import Answer, Kind
from meterfabric_protocol.delivery.answer import sign as sign_answer
from meterfabric_protocol.hello import HelloBody, sign_hello
from tests.vectors.make import LOG, ORIGIN, SINK, SINK_NAME, TIME

FOLDER = Path(__file__).parent
NONCE = bytes(range(16))
ROOT = bytes(range(32))

MESSAGES: tuple[m.Message, ...] = (
    m.Hello(),
    m.Welcome("relay-0", 9_437_184),
    m.Refused("no-session", "HELLO comes first"),
    m.Sinks({"ledger": (b"-----BEGIN CERTIFICATE-----\n",)}),
    m.Want({"ledger": m.Wish(1_000, 5_000)}),
    m.Grant("ledger", 5_000),
    m.Batch(ORIGIN, (m.Target("ledger", 3), m.Target("archive", 1))),
    m.Head(ORIGIN, (m.Target("ledger", 3),), True),
    m.Bye(),
    m.Draining(),
    m.Unroutable(ORIGIN, "ledger", 3),
    m.Deliver(7, ORIGIN, NONCE, 3),
    m.Listen(8, ORIGIN, NONCE, 3, False),
    m.Reply(7),
    m.Ping(),
    m.Answered("ledger", ORIGIN),
)

KINDS: tuple[tuple[Kind, str, str], ...] = (
    ("receipt", "", ""),
    ("passed", "", ""),
    ("position", "", ""),
    ("conflict", "equivocation", "another checkpoint at 12 is held"),
    ("refused", "expired", "the certificate ended"),
)


def wire() -> dict[str, object]:
    """Everything, bytes in hexadecimal."""
    body = HelloBody(1, "producer", ORIGIN, b"\1" * 32, b"\2" * 32, NONCE, "", 0, TIME)
    hello, hello_signature = sign_hello(body, LOG)
    answers = []
    for kind, reason, detail in KINDS:
        line = cosign(b"%b\n12\nAAAA\nfirst 5\n" % ORIGIN.encode(), SINK_NAME, SINK, TIME) if kind == "receipt" else b""
        answer = Answer("ledger", ORIGIN, NONCE, 3, kind, 12, 12, ROOT, line.decode(), reason, detail)
        signed, signature = sign_answer(answer, SINK)
        answers.append({"kind": kind, "body": signed.hex(), "signature": signature.hex()})
    return {
        "messages": [{"name": type(one).__name__.lower(), "envelope": m.encode(one).hex()} for one in MESSAGES],
        "hello": {"body": hello.hex(), "signature": hello_signature.hex()},
        "answers": answers,
    }


if __name__ == "__main__":
    (FOLDER / "messages.json").write_text(json.dumps(wire(), indent=1) + "\n")
