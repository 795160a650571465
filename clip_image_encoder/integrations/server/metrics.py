"""What Prometheus reads: requests, what the batchers have counted, and the memory of the process."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from typing import Any, TypeAlias

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from clip_image_encoder.serving import BatcherStats

__all__ = ["BatcherCollector", "TimedRequests", "registry_of"]

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class BatcherCollector:
    """Reads the counts of the batchers whenever Prometheus asks.

    Args:
        stats: Function that returns the counts of each batcher by the kind of its inputs, "image" or "text".
    """

    def __init__(self, stats: Callable[[], Mapping[str, BatcherStats]]) -> None:
        self._stats = stats

    def collect(self) -> Iterator[Any]:
        """Yield the metrics, each with the label `kind`."""
        stats = self._stats()
        counts = (
            (GaugeMetricFamily, "clip_queue_depth", "Inputs that wait or load", "queue_depth"),
            (CounterMetricFamily, "clip_inputs", "Inputs that were answered", "calls"),
            (CounterMetricFamily, "clip_failures", "Inputs that were answered with an error", "failures"),
            (CounterMetricFamily, "clip_batches", "Batches that were encoded", "batches"),
        )
        for family, name, text, field in counts:
            metric = family(name, text, labels=["kind"])
            for kind, each in stats.items():
                metric.add_metric([kind], getattr(each, field))
            yield metric
        seconds = CounterMetricFamily("clip_seconds", "Time spent", labels=["kind", "stage"])
        for kind, each in stats.items():
            for stage in ("waiting", "loading", "encoding"):
                seconds.add_metric([kind, stage], getattr(each, f"{stage}_seconds"))
        yield seconds


class TimedRequests:
    """Counts the requests and their seconds, by path and status, as a middleware.

    Args:
        app: ASGI application that answers.
        registry: Registry that gets the histogram.
        paths: Paths that have a label of their own; all others are "other".
    """

    def __init__(self, app: App, registry: CollectorRegistry, paths: frozenset[str]) -> None:
        self._app, self._paths = app, paths
        self._seconds = Histogram(
            "clip_request_seconds", "Time of requests", ["path", "status"], buckets=_BUCKETS, registry=registry
        )

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request, and count it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status = time.perf_counter(), 500  # an error that gets as far as here is answered with that

        async def sending(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, sending)
        finally:
            path = scope["path"] if scope["path"] in self._paths else "other"
            self._seconds.labels(path, status).observe(time.perf_counter() - begun)


def registry_of(stats: Callable[[], Mapping[str, BatcherStats]]) -> CollectorRegistry:
    """Return a registry of its own, so that several applications in a process do not mix.

    Args:
        stats: Function that returns the counts of each batcher by the kind of its inputs, "image" or "text".
    """
    registry = CollectorRegistry()
    registry.register(BatcherCollector(stats))
    ProcessCollector(registry=registry)
    return registry
