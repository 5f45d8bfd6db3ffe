"""`docs/metrics.md`, made from the catalogue."""

from collections.abc import Iterator, Mapping

from hiper.metrics.catalogue import AREAS, EXTERNAL, LABELS, MetricSpec

__all__ = ["metrics_page"]

_HEAD = """# Metrics

Generated from `hiper/metrics/catalogue.py` by `make metrics`; do not edit.

Every process serves its metrics at `/metrics` of its HTTP address, next to `/healthz` and `/readyz`, from before its
model is loaded until it ends. A process serves what it has measured: a counter with labels appears with its first
event. Nothing is pushed. Units are base units (seconds, bytes, ratios from 0 to 1), counters end in `_total`, and no
label carries an id of a task, a trajectory or a session.
"""
_TAIL = """
## Labels

Prometheus adds `instance` and `job`; `hiper up`, the compose file and the chart add `run` (name of the run) and
`component` (service), the chart also `namespace` and `pod`.

| label | values |
|---|---|
"""
_EXTERNAL = """
## Metrics of others

Used by dashboards and alerts where they are there.

| metric | meaning |
|---|---|
"""


def metrics_page() -> str:
    """Return the page, Markdown."""
    return _HEAD + "".join(_areas()) + _TAIL + "".join(_rows(LABELS)) + _EXTERNAL + "".join(_rows(EXTERNAL))


def _areas() -> Iterator[str]:
    for title, specs in AREAS.items():
        yield f"\n## {title}\n\n| metric | kind | labels | meaning |\n|---|---|---|---|\n"
        yield from map(_line, specs)


def _line(spec: MetricSpec) -> str:
    labels = ", ".join(f"`{label}`" for label in spec.labels)
    buckets = f" Buckets: {', '.join(f'{bound:g}' for bound in spec.buckets)}." if spec.buckets else ""
    return f"| `hiper_{spec.name}` | {spec.kind} | {labels} | {spec.help}{buckets} |\n"


def _rows(table: Mapping[str, str]) -> Iterator[str]:
    return (f"| `{name}` | {meaning} |\n" for name, meaning in table.items())
