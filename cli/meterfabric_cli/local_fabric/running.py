"""A local fabric that runs: everything started, watched, told about, and stopped in the order in which records flow."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Coroutine
from typing import Any

import msgspec

from meterfabric_cli.local_fabric.identities import Identities, make_folders
from meterfabric_cli.local_fabric.keeper import Keeper
from meterfabric_cli.local_fabric.layout import Layout
from meterfabric_cli.local_fabric.live_line import LiveLine, told
from meterfabric_cli.local_fabric.objects import Objects
from meterfabric_cli.local_fabric.plan import DRAIN_ORDER, plan, relay_names, sink_entries
from meterfabric_cli.local_fabric.readiness import Readiness
from meterfabric_cli.local_fabric.state import ProcessState, SinkState, State
from meterfabric_cli.pages import fetch, health
from meterfabric_runtime.discovery import RelayAddress
from meterfabric_runtime.files import write_whole
from meterfabric_sink.destination.open import shown_url

_SHOW_EVERY = 1.0


class LocalFabric:
    """One fabric in one folder. Raises CommandError where it can't be laid out."""

    def __init__(self, layout: Layout, objects: Objects, port: int, line: LiveLine) -> None:
        self._layout = layout
        self._objects = objects
        self._line = line
        self._told_where = self._draining = False
        self._readiness = Readiness(line.say)
        relays = relay_names(objects)
        make_folders(layout, [sink.metadata.name for sink in objects.sinks], relays)
        self._identities = Identities(layout, objects)
        write_whole(layout.sinks, msgspec.json.encode(sink_entries(objects)) + b"\n", 0o644)
        self._published: list[RelayAddress] | None = None
        identities = self._identities
        plans = plan(objects, layout, identities.producer, identities.relay_key, port)
        self.keepers = [Keeper(each, self._changed, line.say) for each in plans]
        self._sidecar = self.keepers[0]
        self._changed()

    async def run(self, stop: asyncio.Event, hurry: asyncio.Event) -> None:
        """Run until `stop`, then drain; `hurry` ends the draining at once. Raises CommandError, after stopping all."""
        work: list[Coroutine[Any, Any, None]] = [keeper.run() for keeper in self.keepers]
        keeping = [asyncio.create_task(each) for each in work]
        serving = asyncio.create_task(self._identities.serve(self._line.say))
        showing = asyncio.create_task(self._show())
        stopping = asyncio.create_task(stop.wait())
        try:
            ended, _ = await asyncio.wait([*keeping, serving, stopping], return_when=asyncio.FIRST_COMPLETED)
            if stopping not in ended:
                for task in ended:
                    await task
            self._draining = True
            self._line.say("draining; press Ctrl-C again to stop at once, the next start goes on")
            draining = asyncio.create_task(self._drain())
            hurrying = asyncio.create_task(hurry.wait())
            await asyncio.wait([draining, hurrying], return_when=asyncio.FIRST_COMPLETED)
            draining.cancel()
            hurrying.cancel()
            await asyncio.gather(draining, hurrying, return_exceptions=True)
        finally:
            for keeper in self.keepers:
                keeper.kill()
            for task in (serving, showing, stopping, *keeping):
                task.cancel()
            await asyncio.gather(serving, showing, stopping, *keeping, return_exceptions=True)
            self._changed()
            self._line.end()

    async def _drain(self) -> None:
        for component in DRAIN_ORDER:
            await asyncio.gather(*(keeper.stop() for keeper in self.keepers if keeper.plan.component == component))

    def _changed(self) -> None:
        """A process became ready or ended: let others know."""
        try:
            self._publish()
        except OSError as error:
            self._line.say(f"relays.json and state.json can't be written: {error}")
            self._published = None
        if not self._told_where and all(keeper.ready is not None for keeper in self.keepers):
            self._told_where = True
            self._line.say(self._where())

    def _publish(self) -> None:
        relays = [
            RelayAddress(keeper.plan.name, f"tcp://127.0.0.1:{keeper.address.port}")
            for keeper in self.keepers
            if keeper.plan.component == "relay" and keeper.address is not None
        ]
        # One that ended keeps its place until it is back: others know better than we whether it answers.
        if relays != self._published:
            write_whole(self._layout.relays, msgspec.json.encode(relays) + b"\n", 0o644)
            self._published = relays
        self._state().write(self._layout.state)

    def _urls(self) -> tuple[str, str]:
        at = self._sidecar.address
        return (f"http://127.0.0.1:{at.http_port}", f"tcp://127.0.0.1:{at.port}") if at else ("", "")

    def _state(self) -> State:
        http, zeromq = self._urls()
        processes = [
            ProcessState(
                keeper.label,
                keeper.plan.component,
                str(keeper.plan.folder),
                keeper.pid,
                keeper.ready is not None,
                keeper.ready.port if keeper.ready else 0,
                keeper.ready.http_port if keeper.ready else 0,
                keeper.restarts,
                keeper.since,
            )
            for keeper in self.keepers
        ]
        sinks = [SinkState(sink.metadata.name, shown_url(self._layout.sink_url(sink))) for sink in self._objects.sinks]
        trust = str(self._layout.trust)
        return State(os.getpid(), self._objects.fabric.id, http, zeromq, trust, sinks, processes)

    def _where(self) -> str:
        http, zeromq = self._urls()
        sinks = [(f"sink {sink.metadata.name}", shown_url(self._layout.sink_url(sink))) for sink in self._objects.sinks]
        rows = [
            ("send, HTTP", f"{http}/api/v1/events"),
            ("send, ZeroMQ", zeromq),
            ("trust bundle", str(self._layout.trust)),
            *sinks,
        ]
        width = max(len(name) for name, _ in rows)
        lines = "\n".join(f"  {name.ljust(width)}  {value}" for name, value in rows)
        return f"fabric {self._objects.fabric.id} runs in {self._layout.folder}\n{lines}\n  Ctrl-C drains and stops"

    async def _look(self) -> None:
        for keeper in self.keepers:
            if keeper.ready is not None:
                self._readiness.look(keeper.label, await asyncio.to_thread(health, keeper.ready.http_port))

    async def _show(self) -> None:
        while True:
            await asyncio.sleep(_SHOW_EVERY)
            at = self._sidecar.ready
            if at is None:
                continue
            if self._published is None:
                self._changed()
            if not self._draining:
                await self._look()
            with contextlib.suppress(KeyError, TypeError):
                found = await asyncio.to_thread(fetch, at.http_port, "/status")
                if found is not None:
                    self._line.show(told(found[1]))
