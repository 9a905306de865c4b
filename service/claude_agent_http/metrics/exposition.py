"""`GET /metrics`, and nothing else."""

from collections.abc import Callable, Iterator

from prometheus_client import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from claude_agent_http.metrics.gauges import StateGauges
from claude_agent_http.metrics.prometheus import PrometheusTelemetry
from claude_agent_http.metrics.state import Look

__all__ = ["create_metrics_app"]


def create_metrics_app(telemetry: PrometheusTelemetry, look: Look) -> Starlette:
    """Prometheus' text format, or OpenMetrics to who accepts it."""

    async def metrics(request: Request) -> Response:
        encode, content_type = _encoder(request.headers.get("accept", ""))
        everything = _Scrape(telemetry.registry, StateGauges(await look()))
        return Response(encode(everything), headers={"Content-Type": content_type})

    return Starlette(routes=[Route("/metrics", metrics)])


class _Scrape(Collector):
    """All of some collectors, without the library's times of creation: a series more for each counter."""

    def __init__(self, *collectors: Collector) -> None:
        self._collectors = collectors

    def collect(self) -> Iterator[Metric]:
        for collector in self._collectors:
            for metric in collector.collect():
                metric.samples = [one for one in metric.samples if not one.name.endswith("_created")]
                yield metric


def _encoder(accept: str) -> tuple[Callable[[Collector], bytes], str]:
    try:
        return choose_encoder(accept)
    except (TypeError, ValueError):  # a version that is no number
        return choose_encoder("")
