"""The whole way beside the peer: client -> sidecar -> relay (CURVE) -> sink `file`, against NATS JetStream.

Rounds go ours, peer, ours, peer …, and the ratio is the median of the pairs', since machines are noisy. Ours runs from
the first send to the last receipt at the sidecar; the peer's rate is what its publisher tells. Afterwards the sink is
audited, so that a fast wrong answer is none.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from bench import fabric, peer_nats, processes
from bench.report import number, progress, say, spread

ROUNDS = 5
PER_MESSAGE = 1000
SIZE = 300
MESSAGES = 1000
PEER_RECORDS = 300_000
WARM_UP = 200


@dataclass(frozen=True, slots=True)
class Round:
    """One run of ours."""

    rate: float
    """Records a second, first send to last receipt."""
    accepted_rate: float
    """Records a second, first send to last answer of the sidecar."""
    cpu: dict[str, float]
    """Microseconds of processor time for each record, by process."""


def measure() -> None:
    """Print the rates, the ratio, and the processor time of each process on the way."""
    with fabric.running() as ours, peer_nats.running() as peer:
        say("peer", peer_nats.versions())
        progress("warming up both")
        total = _round(ours, 0, WARM_UP, 0)[1]
        peer.measure(PER_MESSAGE * 50, SIZE)
        rounds: list[Round] = []
        peers: list[float] = []
        for turn in range(ROUNDS):
            measured, total = _round(ours, WARM_UP + turn * MESSAGES, MESSAGES, total)
            rates = peer.measure(PEER_RECORDS, SIZE)
            rounds.append(measured)
            peers.append(rates.published)
            progress(f"round {turn + 1} of {ROUNDS}: ours {number(measured.rate)}/s, peer {number(rates.published)}/s")
        ours.audit()
    mine = [measured.rate for measured in rounds]
    say(
        "whole_way", statistics.median(mine), "records/s", f"{spread(mine)}; {SIZE} B, {PER_MESSAGE} a message; audited"
    )
    say("whole_way_accepted", statistics.median(measured.accepted_rate for measured in rounds), "records/s")
    say("nats_jetstream", statistics.median(peers), "records/s", f"{spread(peers)}; sync_interval always")
    ratios = [our / their for our, their in zip(mine, peers, strict=True)]
    say("ratio_vs_nats", statistics.median(ratios), "", spread(ratios))
    for role in rounds[0].cpu:
        say(f"cpu_{role}", statistics.median(measured.cpu[role] for measured in rounds), "us/record")


def _round(ours: fabric.Fabric, first: int, messages: int, before: int) -> tuple[Round, int]:
    """Send `messages` and wait for their receipts; returns the round and all records delivered so far."""
    pids = ours.pids()
    used = {role: -sum(processes.cpu_seconds(pid) for pid in pids[role]) for role in processes.ROLES}
    sent = ours.send(messages, per_message=PER_MESSAGE, size=SIZE, first=first)
    total = before + sent.records
    receipted = ours.wait_until_delivered(total)
    for role in processes.ROLES:
        used[role] += sum(processes.cpu_seconds(pid) for pid in pids[role])
    used["client"] = sent.cpu
    cpu = {role: seconds / sent.records * 1e6 for role, seconds in used.items()}
    return Round(sent.records / (receipted - sent.begun), sent.records / (sent.accepted - sent.begun), cpu), total
