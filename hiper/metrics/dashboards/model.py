"""Dashboards as data, and the Grafana JSON they become: one style for all, written once.

In an expression, `@` inside braces stands for the run and namespace that were chosen at the top of the page. Every
panel has a unit and a description; nothing names a data source but the variable of the page.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hiper.durable import JsonValue

__all__ = ["Dashboard", "Line", "Panel", "Row", "grafana_json"]

_SCOPE = 'namespace=~"$namespace",run=~"$run"'
_SOURCE: dict[str, JsonValue] = {"type": "prometheus", "uid": "${datasource}"}
_SCHEMA = 39
_COLUMNS = 24
_HEIGHTS = {"timeseries": 8, "stat": 4}

Unit = Literal["none", "short", "percentunit", "s", "bytes", "reqps", "ops", "dateTimeFromNow"]
Kind = Literal["timeseries", "stat"]


@dataclass(frozen=True, slots=True)
class Line:
    """One PromQL expression and what its series are called."""

    expr: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture."""

    title: str
    description: str
    """What it shows, and what is wrong if it looks wrong."""
    lines: Sequence[Line]
    unit: Unit = "short"
    kind: Kind = "timeseries"
    width: int = 8
    """Of 24 columns."""
    bad_above: float | None = None
    """From here on it is red."""
    bad_below: float | None = None
    """Up to here it is red."""
    stacked: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading, left to right, wrapped."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One page. `uid` is stable for ever: links and bookmarks hold it."""

    uid: str
    title: str
    description: str
    rows: Sequence[Row]
    by_environment: bool = False
    """Offers a choice of environment, `$env` in expressions."""


def grafana_json(dashboard: Dashboard) -> dict[str, Any]:
    """Return the page as Grafana's JSON."""
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": ["hiper"],
        "schemaVersion": _SCHEMA,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": _variables(dashboard)},
        "annotations": {"list": _annotations()},
        "links": [
            {"type": "dashboards", "title": "HiPER", "tags": ["hiper"], "asDropdown": True, "keepTime": True}
            | {"includeVars": True, "url": "", "icon": "external link", "targetBlank": False, "tooltip": ""}
        ],
        "panels": _panels(dashboard.rows),
    }


def _variables(dashboard: Dashboard) -> list[dict[str, Any]]:
    source = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "hide": 0}
    found = [source, _variable("namespace", "hiper_build_info"), _variable("run", "hiper_build_info")]
    if dashboard.by_environment:
        found.append(_variable("env", "hiper_env_sessions_max"))
    return found


def _variable(label: str, metric: str) -> dict[str, Any]:
    """Values of a label; All matches series without it, too: a local run has no namespace."""
    query = f"label_values({metric}, {label})"
    return {
        "name": label,
        "label": label.capitalize(),
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": label},
        "definition": query,
        "refresh": 2,
        "includeAll": True,
        "allValue": ".*",
        "multi": True,
        "current": {"text": ["All"], "value": ["$__all"]},
        "sort": 1,
        "hide": 0,
    }


def _annotations() -> list[dict[str, Any]]:
    marks = {
        "Checkpoint": ("changes(hiper_learner_last_checkpoint_timestamp_seconds{@}[$__rate_interval]) > 0", "blue"),
        "Weights published": ("changes(hiper_learner_policy_version{@}[$__rate_interval]) > 0", "green"),
        "Process started": ("time() - process_start_time_seconds{@} < 60", "orange"),
    }
    return [
        {
            "name": name,
            "datasource": _SOURCE,
            "enable": name == "Process started",
            "hide": False,
            "iconColor": colour,
            "expr": _scoped(expr),
            "step": "30s",
            "titleFormat": name,
            "textFormat": "{{component}} {{instance}}",
        }
        for name, (expr, colour) in marks.items()
    ]


def _panels(rows: Sequence[Row]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    y = 0
    for row in rows:
        place = {"x": 0, "y": y, "w": _COLUMNS, "h": 1}
        found.append({"id": len(found) + 1, "type": "row", "title": row.title, "gridPos": place, "panels": []})
        y, x, height = y + 1, 0, 0
        for panel in row.panels:
            if x + panel.width > _COLUMNS:
                y, x, height = y + height, 0, 0
            place = {"x": x, "y": y, "w": panel.width, "h": _HEIGHTS[panel.kind]}
            found.append({"id": len(found) + 1, "gridPos": place, **_panel(panel)})
            x, height = x + panel.width, max(height, _HEIGHTS[panel.kind])
        y += height
    return found


def _panel(panel: Panel) -> dict[str, Any]:
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": _SOURCE,
        "targets": [
            {"refId": chr(ord("A") + index), "datasource": _SOURCE, "expr": _scoped(line.expr)}
            | {"legendFormat": line.legend, "range": True, "instant": panel.kind == "stat"}
            | {"exemplar": panel.kind == "timeseries" and "_bucket{" in line.expr}
            for index, line in enumerate(panel.lines)
        ],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _STAT_OPTIONS if panel.kind == "stat" else _GRAPH_OPTIONS,
    }


_STAT_OPTIONS = {
    "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    "colorMode": "value",
    "graphMode": "area",
    "textMode": "auto",
}
_GRAPH_OPTIONS = {
    "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
    "tooltip": {"mode": "multi", "sort": "desc"},
}


def _defaults(panel: Panel) -> dict[str, Any]:
    found: dict[str, Any] = {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": _steps(panel)}}
    if panel.unit == "percentunit":
        found |= {"min": 0, "max": 1}
    if panel.kind == "timeseries":
        stacking = {"mode": "normal" if panel.stacked else "none", "group": "A"}
        fill = 30 if panel.stacked else 8
        limits = panel.bad_above is not None or panel.bad_below is not None
        found["custom"] = {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": fill,
            "showPoints": "never",
            "spanNulls": True,
            "stacking": stacking,
            "thresholdsStyle": {"mode": "dashed" if limits else "off"},
        }
    return found


def _steps(panel: Panel) -> list[dict[str, Any]]:
    if panel.bad_below is not None:
        return [{"color": "red", "value": None}, {"color": "green", "value": panel.bad_below}]
    found: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.bad_above is not None:
        found.append({"color": "red", "value": panel.bad_above})
    return found


def _scoped(expr: str) -> str:
    return expr.replace("{@", "{" + _SCOPE)
