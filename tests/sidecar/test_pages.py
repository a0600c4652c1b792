"""What a sidecar shows to who isn't in its pod: the pages, and no way in."""

import aiohttp
from prometheus_client import CollectorRegistry

from meterfabric_sidecar.pages import Pages


class Fine:
    """Nothing to complain about."""

    def unhealthy(self) -> list[str]:
        return []

    def unready(self) -> list[str]:
        return []


async def test_probes_metrics_and_status_are_served_and_records_are_not_taken() -> None:
    server = await Pages(Fine(), CollectorRegistry(), lambda: {"origin": "a"}).serve("127.0.0.1", 0)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session:
        for page in ("/healthz", "/readyz", "/metrics", "/status"):
            async with session.get(page) as response:
                assert response.status == 200, page
        async with session.post("/api/v1/events", json={}) as response:
            assert response.status == 404
    await server.close()
