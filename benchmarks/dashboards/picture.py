"""A dashboard as a picture: Grafana's grid, panels, units, legends and thresholds, and the answers to its queries.

What is drawn is what the JSON says; nothing is added but the line of text at the foot.
"""

import math
import textwrap
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, DateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from benchmarks.dashboards.answers import Answered, Json
from benchmarks.dashboards.prometheus import Series
from benchmarks.drawing import BLUE, GREEN, GREY, INK, ORANGE, PALE, PURPLE, RED, SKY, new_figure

__all__ = ["draw_page", "in_unit"]

_COLUMNS, _WIDTH, _ROW = 24, 14.0, 0.27
"""Columns of the grid; inches of the page's width, and of one row of the grid."""
_HEAD, _FOOT = 3.0, 2.4
"""Rows of the grid the title and the text at the foot take."""
_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, RED, "#8C6D31", "#5F5F5F", "#3B9C9C", "#B5539C")
_THRESHOLD = {"red": RED, "green": GREEN}
_MARK = {"orange": ORANGE, "blue": BLUE, "green": GREEN}
_LEGEND_ROOM = 62
"""Characters of a legend that fit into one line of the narrowest panel, at 8 columns."""

Line = tuple[str, Series]


def draw_page(answered: Answered, foot: str) -> Figure:
    """Draw every panel in its place, and `foot` below."""
    panels: Sequence[Json] = answered.page["panels"]
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    whole = _HEAD + rows + _FOOT
    figure = new_figure(_WIDTH, whole * _ROW)
    figure.set_layout_engine("none")
    figure.text(0.008, 1 - 1.2 / whole, answered.page["title"], size=15, weight="bold", va="center")
    figure.text(0.008, 1 - 2.3 / whole, answered.page["description"], size=9, color=GREY, va="center")
    figure.text(0.008, _FOOT / 2 / whole, textwrap.fill(foot, 215), size=8, color=GREY, va="center")
    for panel in panels:
        place = panel["gridPos"]
        top = 1 - (_HEAD + place["y"]) / whole
        box = (place["x"] / _COLUMNS, top - place["h"] / whole, place["w"] / _COLUMNS, place["h"] / whole)
        if panel["type"] == "row":
            figure.text(0.008, top - 0.55 / whole, panel["title"], size=11, weight="bold", va="center")
        else:
            _Panel(figure, panel, box, answered).draw()
    return figure


class _Panel:
    """One panel in its box: left, bottom, width and height as shares of the page."""

    def __init__(self, figure: Figure, panel: Json, box: tuple[float, float, float, float], answered: Answered) -> None:
        self._figure, self._panel, self._answered = figure, panel, answered
        self._defaults: Mapping[str, Any] = panel["fieldConfig"]["defaults"]
        self._unit: str = self._defaults["unit"]
        self._lines = answered.lines[panel["id"]]
        x, y, width, height = box
        inches = figure.get_size_inches()
        pad = 0.06 / inches[0], 0.05 / inches[1]
        self._box = x + pad[0], y + pad[1], width - 2 * pad[0], height - 2 * pad[1]
        self._inch = 1 / inches[0], 1 / inches[1]

    def draw(self) -> None:
        """Frame, title, and what the panel shows."""
        x, y, width, height = self._box
        frame = self._figure.add_axes((x, y, width, height))
        frame.set(xticks=[], yticks=[])
        for spine in frame.spines.values():
            spine.set(visible=True, color=PALE)
        title = y + height - 0.13 * self._inch[1]
        self._figure.text(x + 0.08 * self._inch[0], title, self._panel["title"], size=9, weight="bold", va="center")
        if self._panel["type"] == "stat":
            self._draw_stat()
        else:
            self._draw_graph()

    def _axes(self, left: float, bottom: float, right: float, top: float) -> Axes:
        """Axes inside the box, with margins in inches."""
        x, y, width, height = self._box
        across, up = self._inch
        place = (x + left * across, y + bottom * up, width - (left + right) * across, height - (bottom + top) * up)
        axes: Axes = self._figure.add_axes(place)
        axes.set_xlim(_day(self._answered.span.start), _day(self._answered.span.end))
        return axes

    def _draw_stat(self) -> None:
        """The last value, large, over its course."""
        axes = self._axes(0.1, 0.08, 0.1, 0.28)
        axes.axis("off")
        if not self._lines:
            return
        series = self._lines[0][1]
        colour = self._colour_of(series.values[-1])
        low, high = min(series.values), max(series.values)
        axes.set_ylim(low - 0.02 * (high - low or 1), high + 1.4 * (high - low or 1))
        axes.fill_between(_days(series), low - (high - low or 1), series.values, color=colour, alpha=0.15, linewidth=0)
        axes.plot(_days(series), series.values, color=colour, linewidth=1)
        said = in_unit(series.values[-1], self._unit)
        axes.text(0.5, 0.62, said, transform=axes.transAxes, size=22, color=colour, ha="center", va="center")

    def _colour_of(self, value: float) -> str:
        steps = self._defaults["thresholds"]["steps"]
        reached = [step for step in steps if step["value"] is None or value >= step["value"]]
        return _THRESHOLD[reached[-1]["color"]]

    def _draw_graph(self) -> None:
        legend = _wrapped([name for name, _ in self._lines], self._panel["gridPos"]["w"])
        axes = self._axes(0.7, 0.3 + 0.15 * len(legend), 0.12, 0.32)
        axes.grid(visible=True, color=PALE, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(labelsize=7, length=0)
        axes.spines[:].set_visible(False)
        axes.xaxis.set_major_locator(AutoDateLocator(minticks=4, maxticks=10))
        axes.xaxis.set_major_formatter(DateFormatter("%H:%M"))
        axes.yaxis.set_major_locator(_BinaryLocator() if self._unit == "bytes" else MaxNLocator(5))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: in_unit(value, self._unit)))
        custom = self._defaults["custom"]
        if custom["stacking"]["mode"] == "normal":
            self._stack(axes)
        else:
            for place, (_, series) in enumerate(self._lines):
                axes.plot(_days(series), series.values, color=_colour(place), linewidth=1.1)
                if len(self._lines) == 1:
                    axes.fill_between(_days(series), 0, series.values, color=_colour(place), alpha=0.08, linewidth=0)
        self._limit(axes)
        for at, colour in self._answered.marks:
            axes.axvline(_day(at), color=_MARK[colour], linewidth=0.7, linestyle=(0, (3, 3)))
        self._draw_legend(legend)

    def _stack(self, axes: Axes) -> None:
        """Areas on each other, on the times any of them has."""
        times = sorted({at for _, series in self._lines for at in series.times})
        heights = [np.interp(times, series.times, series.values, left=0, right=0) for _, series in self._lines]
        colours = [_colour(place) for place in range(len(heights))]
        if heights:
            days = [_day(at) for at in times]
            axes.stackplot(days, *heights, colors=colours, alpha=0.35, linewidth=0)
            for height, colour in zip(np.cumsum(heights, axis=0), colours, strict=True):
                axes.plot(days, height, color=colour, linewidth=1)

    def _limit(self, axes: Axes) -> None:
        """The axis: from the panel if it says so; flat lines get room. Thresholds are drawn where they are in sight."""
        values = [value for _, series in self._lines for value in series.values] or [0.0]
        low, high = min(values), max(values)
        if "max" in self._defaults:
            axes.set_ylim(min(low, self._defaults["min"]), max(high, self._defaults["max"]))
        elif low == high:
            axes.set_ylim(min(2 * low, 0), max(2 * high, 0) if low else 1)
        elif low >= 0:
            axes.set_ylim(bottom=0)
        if self._defaults["custom"]["thresholdsStyle"]["mode"] == "dashed":
            for step in self._defaults["thresholds"]["steps"]:
                if step["value"] is not None and axes.get_ylim()[0] <= step["value"] <= axes.get_ylim()[1]:
                    axes.axhline(step["value"], color=RED, linewidth=0.9, linestyle=(0, (4, 3)))

    def _draw_legend(self, lines: list[list[tuple[int, str]]]) -> None:
        x, y, _, _ = self._box
        across, up = self._inch
        room = 5.0 * across / _LEGEND_ROOM * _WIDTH / _COLUMNS * 8 / 5.0
        for row, entries in enumerate(reversed(lines)):
            at = x + 0.1 * across
            for place, name in entries:
                height = y + (0.1 + 0.15 * row) * up
                self._figure.text(at, height, "▬", size=7, color=_colour(place), va="center", family="DejaVu Sans")
                self._figure.text(at + 0.13 * across, height, name, size=7, color=INK, va="center")
                at += 0.22 * across + len(name) * room


class _BinaryLocator(MaxNLocator):
    """Ticks at whole multiples of a power of two: round in KiB, MiB and GiB."""

    def tick_values(self, vmin: float, vmax: float) -> Sequence[float]:
        """Ticks between two figures in bytes, six at most."""
        apart = 2.0 ** math.ceil(math.log2(max(vmax - vmin, 1.0) / 5))
        return list(np.arange(math.floor(vmin / apart) * apart, vmax + apart, apart))


def _wrapped(names: list[str], columns: int) -> list[list[tuple[int, str]]]:
    """Legend entries with their place, broken into lines that fit."""
    room = _LEGEND_ROOM * columns // 8
    lines: list[list[tuple[int, str]]] = [[]]
    used = 0
    for place, name in enumerate(names):
        if used and used + len(name) + 3 > room:
            lines.append([])
            used = 0
        lines[-1].append((place, name))
        used += len(name) + 3
    return lines


def _colour(place: int) -> str:
    return _COLOURS[place % len(_COLOURS)]


def _day(at: float) -> float:
    return float(date2num(datetime.fromtimestamp(at, UTC)))


def _days(series: Series) -> list[float]:
    return [_day(at) for at in series.times]


def in_unit(value: float, unit: str) -> str:
    """Return a value as Grafana writes it in `unit`.

    >>> in_unit(0.25, "percentunit"), in_unit(0.0021, "s"), in_unit(3 * 2**20, "bytes"), in_unit(1500, "short")
    ('25%', '2.1 ms', '3 MiB', '1.5 K')
    """
    if unit == "percentunit":
        return f"{value * 100:.3g}%"
    if unit == "s":
        return _seconds(value)
    if unit == "bytes":
        return _scaled(value, 1024, ("B", "KiB", "MiB", "GiB", "TiB"))
    scaled = _scaled(value, 1000, ("", "K", "Mil", "Bil", "Tri")) if unit != "none" else f"{value:.4g}"
    return scaled + {"reqps": " req/s", "ops": " ops/s"}.get(unit, "")


def _seconds(value: float) -> str:
    size = abs(value)
    for least, divisor, name in ((3600, 3600, "hours"), (60, 60, "mins"), (1, 1, "s"), (1e-3, 1e-3, "ms")):
        if size >= least:
            return f"{value / divisor:.3g} {name}"
    return f"{value * 1e6:.3g} µs" if size else "0 s"


def _scaled(value: float, base: int, names: Sequence[str]) -> str:
    power = min(int(math.log(abs(value), base)), len(names) - 1) if abs(value) >= base else 0
    return f"{value / base**power:.4g} {names[power]}".strip()
