"""Prometheus metrics of every service, from one catalogue."""

from hiper.metrics.catalogue import CATALOGUE, MetricSpec
from hiper.metrics.registry import counter, exposition, gauge, histogram, render

__all__ = ["CATALOGUE", "MetricSpec", "counter", "exposition", "gauge", "histogram", "render"]
