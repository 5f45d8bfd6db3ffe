"""Prometheus metrics of every service, from one catalogue."""

from hiper.metrics.catalogue import CATALOGUE, MetricSpec
from hiper.metrics.registry import counter, gauge, histogram, render

__all__ = ["CATALOGUE", "MetricSpec", "counter", "gauge", "histogram", "render"]
