"""The producer's core: which answers it believes, and what its shell tells it."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from meterfabric_protocol.delivery import effects as fx

from .producer_rig import LOG, ready


def test_an_answer_by_another_key_is_not_believed() -> None:
    rig = ready()
    rig.answer("receipt", 2, about=2, key=Ed25519PrivateKey.generate())
    assert rig.acked() == 0
    assert [alarm.word for alarm in rig.of(fx.Alarm)] == ["bad-answer"]


def test_an_answer_to_another_session_is_not_believed() -> None:
    rig = ready()
    rig.answer("receipt", 2, about=2, nonce=b"x" * 16)
    assert rig.acked() == 0


def test_an_answer_to_another_epoch_counts_for_nothing() -> None:
    rig = ready()
    epoch = rig.epoch()
    rig.wait(10.0)
    rig.answer("receipt", 2, about=2, epoch=epoch)
    assert rig.acked() == 0


def test_a_new_certificate_ends_the_wait() -> None:
    rig = ready()
    rig.answer("refused", 0, reason="expired")
    rig.do(rig.core.enrolled(LOG, b"another chain", rig.now))
    assert [send.frames[0] for send in rig.of(fx.Send)] == [b"another chain"]
