"""Metric objects made from the catalogue on first use.

A name that is not in the catalogue is a programming error and raises `KeyError` at once, so code, documents,
dashboards and alerts cannot drift apart. Names are given without the `hiper_` prefix.
"""

from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import choose_encoder
from prometheus_client.process_collector import ProcessCollector

from hiper.metrics.catalogue import CATALOGUE, Kind, MetricSpec

__all__ = ["counter", "exposition", "gauge", "histogram", "render"]

# Times of creation would be a series for each one there is, and nobody asks for them.
disable_created_metrics()  # type: ignore[no-untyped-call]
_REGISTRY = CollectorRegistry()
ProcessCollector(registry=_REGISTRY)


def counter(name: str) -> Counter:
    """Return the counter `hiper_<name>`."""
    return _counter(name)


def gauge(name: str) -> Gauge:
    """Return the gauge `hiper_<name>`."""
    return _gauge(name)


def histogram(name: str) -> Histogram:
    """Return the histogram `hiper_<name>`."""
    return _histogram(name)


def render() -> bytes:
    """Return everything measured so far in the Prometheus text format."""
    return exposition("")[0]


def exposition(accept: str) -> tuple[bytes, str]:
    """Return everything measured so far, and its media type: OpenMetrics, which has exemplars, if `accept` (of HTTP)
    names it, else the Prometheus text format.
    """
    encode, media_type = choose_encoder(accept)
    return encode(_REGISTRY), media_type


def _spec(name: str, kind: Kind) -> MetricSpec:
    spec = CATALOGUE[name]
    if spec.kind is not kind:
        raise TypeError(f"hiper_{name} is a {spec.kind}, not a {kind}")
    return spec


@cache
def _counter(name: str) -> Counter:
    spec = _spec(name, Kind.COUNTER)
    return Counter(f"hiper_{name}", spec.help, spec.labels, registry=_REGISTRY)


@cache
def _gauge(name: str) -> Gauge:
    spec = _spec(name, Kind.GAUGE)
    return Gauge(f"hiper_{name}", spec.help, spec.labels, registry=_REGISTRY)


@cache
def _histogram(name: str) -> Histogram:
    spec = _spec(name, Kind.HISTOGRAM)
    return Histogram(f"hiper_{name}", spec.help, spec.labels, registry=_REGISTRY, buckets=spec.buckets)
