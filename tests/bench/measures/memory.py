"""What the service process itself holds in memory."""

from tests.bench.bench import Bench
from tests.bench.figure import Figure, Target
from tests.bench.http_side import http_side
from tests.bench.machine import Usage, usage
from tests.bench.processes import service

__all__ = ["measure"]


async def measure(bench: Bench) -> list[Figure]:
    count = bench.count(1000, 50)
    folder = bench.folder / "memory"
    folder.mkdir()
    async with service(folder, bench.model.url, prestart=False) as running:
        first = usage(running.pid)
    async with (
        service(folder, bench.model.url, prestart=False) as running,
        http_side(running.url) as http,
    ):
        started = usage(running.pid)
        for number in range(count):
            await http.create(f"user-{number}")
        used = usage(running.pid)
    return [
        _figure("service_memory.first_start", "service process after making its database", first, 1),
        _figure("service_memory.after_start", "service process after a later start", started, 1),
        _figure(
            "service_memory", f"service process without CLIs after {count:,} created sessions", used, count
        ),
    ]


def _figure(name: str, what: str, used: Usage, n: int) -> Figure:
    return Figure(
        name=name,
        what=f"{what}, resident set size",
        unit="MB",
        value=used.rss_mb,
        n=n,
        targets=(Target("value", 120),),
        details={"pss": used.pss_mb},
    )
