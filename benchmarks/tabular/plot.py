"""The picture of a `Study`: variance with exact critics, bias with noisy ones, by switch rate."""

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.drawing import BLUE, GREEN, GREY, ORANGE, RED, new_figure
from benchmarks.tabular.problem import FloatArray
from benchmarks.tabular.study import Study

__all__ = ["draw_study"]


class _Line(NamedTuple):
    label: str
    colour: str
    marker: str


_LINES = {
    "flat 1": _Line("flat GAE, λ = 1", GREY, "o"),
    "flat .95": _Line("flat GAE, λ = .95", GREEN, "s"),
    "flat 0": _Line("flat GAE, λ = 0", RED, "v"),
    "third (1,.95)": _Line(r"HAE, third head, $λ_\mathrm{low}$ = 1, $λ_\mathrm{seg}$ = .95", BLUE, "^"),
    "gain (1,.95)": _Line(r"HAE, gain form, $λ_\mathrm{low}$ = 1, $λ_\mathrm{seg}$ = .95", ORANGE, "D"),
}


def draw_study(study: Study) -> Figure:
    """Draw `study`: points are means over seeds, bars their range."""
    figure = new_figure(10, 4.6)
    left, right = figure.subplots(1, 2)
    for place, (name, line) in enumerate(_LINES.items()):
        variance = [study.ratio(name, "flat 1", rate) for rate in study.settings.rates]
        bias = [study.values(name, rate, "bias", noisy=True) for rate in study.settings.rates]
        _draw_line(left, study, variance, line, place)
        _draw_line(right, study, bias, line, place)
    left.set_title("Variance, exact critic")
    left.set_ylabel("of the gradient, relative to flat GAE, λ = 1")
    right.set_title(f"Bias, critic off by {study.settings.error:.0%} of the reward")
    right.set_ylabel("of the gradient, relative to its length")
    for axes in (left, right):
        axes.set_xlabel("share of decisions that are SWITCH")
        axes.set_xticks(study.settings.rates, [f"{rate:g}" for rate in study.settings.rates])
        axes.set_ylim(bottom=0)
        axes.grid(axis="y", color="#E8E8E8")
        axes.set_axisbelow(True)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    return figure


def _draw_line(axes: Axes, study: Study, values: list[FloatArray], line: _Line, place: int) -> None:
    """One estimator; `place` moves it a little aside, so that bars do not cover one another."""
    mean = np.array([found.mean() for found in values])
    low, high = (np.array([end(found) for found in values]) for end in (np.min, np.max))
    axes.errorbar(
        np.array(study.settings.rates) + 0.01 * (place - len(_LINES) // 2),
        mean,
        yerr=(mean - low, high - mean),
        color=line.colour,
        marker=line.marker,
        markersize=5,
        linewidth=1.5,
        elinewidth=1,
        capsize=2,
        label=line.label,
    )
