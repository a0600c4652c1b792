"""The chart is rolled out under load: operator, relays and sinks are all replaced."""

import dataclasses
import random
import time

from tests.cluster import machine
from tests.cluster.node import CTR
from tests.e2e.ground import Ground


class Rolled:
    """`helm upgrade` with other tags of the same images. It doesn't wait until what is new is ready."""

    def do(self, ground: Ground, chance: random.Random) -> str:
        """See faults.Fault."""
        tag = f"rolled-{int(time.time())}"
        installed = ground.installed
        renamed = [f"{name.rpartition(':')[0]}:{tag}" for name in (installed.dataplane, installed.operator)]
        for name, other in zip((installed.dataplane, installed.operator), renamed, strict=True):
            for node in ground.nodes:
                ctr = [str(installed.kubernetes.programs["ctr"]), *CTR]
                machine.run(node, [*ctr, "images", "tag", "--force", name, other])
        dataclasses.replace(installed, dataplane=renamed[0], operator=renamed[1]).install("--wait=hookOnly")
        return f"to the tag {tag}"

    def undo(self, ground: Ground) -> None:
        """The images are the same, so there is nothing to go back to."""
