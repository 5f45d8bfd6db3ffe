"""Grafana dashboards of the platform, made from data: `hiper metrics dashboards`."""

import json
from collections.abc import Mapping

from hiper.metrics.dashboards.flow import BROKER, PIPELINE
from hiper.metrics.dashboards.model import grafana_json
from hiper.metrics.dashboards.overview import OVERVIEW
from hiper.metrics.dashboards.playing import ENVIRONMENTS, SERVING
from hiper.metrics.dashboards.training import TRAINING

__all__ = ["DASHBOARDS", "dashboard_files"]

DASHBOARDS = (OVERVIEW, TRAINING, PIPELINE, ENVIRONMENTS, SERVING, BROKER)


def dashboard_files() -> Mapping[str, str]:
    """Return the JSON files by name."""
    return {f"{page.uid}.json": json.dumps(grafana_json(page), indent=2) + "\n" for page in DASHBOARDS}
