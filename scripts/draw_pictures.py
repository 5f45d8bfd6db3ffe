"""Draw docs/pictures: python scripts/draw_pictures.py [--check] [--png FOLDER]

`episode.svg` shows which tokens carry which advantage, `backup.svg` where each level gets its return from,
`variance_study.svg` the results kept in benchmarks/results/variance_study.json. The same code gives the same files;
`--check` draws anew and fails where a file is not what would be drawn. `--png` writes bitmaps, to look at.
"""

import argparse
import json
import sys
import tempfile
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from benchmarks.drawing import BLUE, GREEN, GREY, INK, ORANGE, PALE, new_figure, save
from benchmarks.tabular.plot import draw_study
from benchmarks.tabular.study import Study

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs/pictures"
RESULTS = ROOT / "benchmarks/results/variance_study.json"
SWITCH, HIGH, LOW = BLUE, ORANGE, GREEN


class Turn(NamedTuple):
    """One response of the example."""

    switch: bool
    subgoal: str
    action: str


EPISODE = (
    Turn(True, "find a mug", "go to desk 1"),
    Turn(False, "find a mug", "go to shelf 2"),
    Turn(False, "find a mug", "take mug 1"),
    Turn(True, "clean the mug", "go to sink 1"),
    Turn(False, "clean the mug", "clean mug 1"),
    Turn(True, "put it on a shelf", "go to shelf 2"),
    Turn(False, "put it on a shelf", "put mug 1"),
)


def segments(episode: tuple[Turn, ...]) -> list[tuple[int, int]]:
    """First and last turn of each segment."""
    starts = [t for t, turn in enumerate(episode) if turn.switch or t == 0]
    ends = [start - 1 for start in starts[1:]] + [len(episode) - 1]
    return list(zip(starts, ends, strict=True))


def draw_episode() -> Figure:
    """Turns as columns of blocks in the order they are sampled; colours say whose advantage a block carries."""
    figure, axes = _canvas(11.5, 5, (-1.3, len(EPISODE)), (-2.0, 4.75))
    for label, y in (("switch", 3.4), ("sub-goal", 2.5), ("action", 1.3), ("other text,\nend of sequence", 0.4)):
        axes.text(-0.12, y, label, ha="right", va="center")
    axes.text(-0.12, 4.5, "segment", ha="right", va="center")
    axes.text(-0.12, -0.3, "turn", ha="right", va="center")
    for y in (3.97, 1.9):
        axes.text(-0.12, y, "values read here", ha="right", va="center", size=8, color=GREY)
    for number, (start, end) in enumerate(segments(EPISODE)):
        _box(axes, (start + 0.04, 4.28), (end - start + 0.92, 0.44), PALE, f"{number}:  {EPISODE[start].subgoal}")
    for t, turn in enumerate(EPISODE):
        _draw_turn(axes, t, turn)
    legend = (
        (SWITCH, SWITCH, r"$A^\mathrm{switch}_t$: every turn"),
        (LOW, LOW, r"$A^\mathrm{low}_t$: every turn"),
        (HIGH, HIGH, r"$A^\mathrm{high}_k$: the turn that opens segment $k$"),
        ("white", LOW, r"$A^\mathrm{low}_t$; outside the loss in compat mode"),
        ("white", GREY, "copied under KEEP: no advantage, outside the loss"),
    )
    for place, (fill, edge, label) in enumerate(legend):
        x, y = ((0.04, -0.95), (0.04, -1.6), (2.2, -0.95), (2.2, -1.6), (4.72, -0.95))[place]
        _box(axes, (x, y - 0.16), (0.3, 0.32), fill, "", edge=edge)
        axes.text(x + 0.38, y, textwrap.fill(label, 30) if place == 4 else label, ha="left", va="center", size=9)
    return figure


def _draw_turn(axes: Axes, t: int, turn: Turn) -> None:
    """One column of `draw_episode`."""
    before = r"$V_\mathrm{high}$, $V_\mathrm{switch}$" if turn.switch else r"$V_\mathrm{switch}$"
    axes.text(t + 0.5, 3.97, before, ha="center", va="center", size=9)
    _box(axes, (t + 0.04, 3.05), (0.92, 0.7), SWITCH, "SWITCH" if turn.switch else "KEEP")
    _box(axes, (t + 0.04, 2.15), (0.92, 0.7), HIGH if turn.switch else "white", turn.subgoal)
    axes.text(t + 0.5, 1.9, r"$V_\mathrm{low}$", ha="center", va="center", size=9)
    _box(axes, (t + 0.04, 0.95), (0.92, 0.7), LOW, turn.action)
    _box(axes, (t + 0.04, 0.15), (0.92, 0.5), "white", "<|im_end|>", edge=LOW)
    axes.text(t + 0.5, -0.3, str(t), ha="center", va="center")


def draw_backup() -> Figure:
    """Turns as dots, one lane per level: arrows run from where a return comes from to where it goes."""
    figure, axes = _canvas(11.5, 4.4, (-2.5, len(EPISODE) - 0.25), (-0.95, 4.1))
    high, switch, low = 3.0, 1.65, 0.35
    lanes = (
        (high, "High level", "GAE over segments\n" + r"against $V_\mathrm{high}(s_{b_k})$"),
        (
            switch,
            "Switch level, third head",
            "return to the segment's end\n" + r"against $V_\mathrm{switch}(s_t, o_{t-1})$",
        ),
        (low, "Low level", "GAE inside the segment\n" + r"against $V_\mathrm{low}(s_t, o_t)$"),
    )
    for y, title, text in lanes:
        axes.text(-2.45, y + 0.3, title, weight="bold", size=11, va="center")
        axes.text(-2.45, y - 0.16, text, va="center", size=9)
    for number, (start, end) in enumerate(segments(EPISODE)):
        final = end == len(EPISODE) - 1
        axes.plot((end + 0.5,) * 2, (-0.1, high), color=GREY, linestyle=(0, (3, 3)), linewidth=1, zorder=0)
        label = rf"$R_{number}$: rewards of turns {start} to {end}"
        _box(axes, (start - 0.28, high - 0.24), (end - start + 0.56, 0.48), HIGH, label)
        if not final:
            _arrow(axes, (end + 0.74, high + 0.27), (end + 0.26, high + 0.27), HIGH, bend=0.7)
            axes.text(end + 0.5, high + 0.6, rf"$γ^{end - start + 1} λ_\mathrm{{seg}}$", ha="center", size=9)
        _draw_dots(axes, switch, (start, end), SWITCH, "γ")
        _draw_dots(axes, low, (start, end), LOW, r"$γ λ_\mathrm{low}$")
        for y, reach in ((high, 0.28), (switch, 0.15), (low, 0.15)):
            _arrow(axes, (end + 0.5, y), (end + reach, y), INK)
            axes.plot(end + 0.5, y, "s" if final else "D", color="white", markeredgecolor=INK, markersize=9)
    for x, marker, meaning in (
        (-0.1, "D", r"$V_\mathrm{high}$ of the next boundary turn"),
        (2.6, "s", "0 if terminated; value of the next observation if truncated"),
    ):
        axes.plot(x, -0.6, marker, color="white", markeredgecolor=INK, markersize=9)
        axes.text(x + 0.2, -0.6, meaning, va="center", size=9)
    return figure


def _draw_dots(axes: Axes, y: float, segment: tuple[int, int], colour: str, decay: str) -> None:
    """The turns of one segment in a lane of `draw_backup`, each fed by the next one."""
    start, end = segment
    for t in range(start, end + 1):
        axes.plot(t, y, "o", color=colour, markersize=15)
        axes.text(t, y, str(t), color="white", ha="center", va="center_baseline", size=9)
        if t < end:
            _arrow(axes, (t + 0.85, y), (t + 0.15, y), colour)
            axes.text(t + 0.5, y + 0.12, decay, ha="center", size=9)


def _canvas(width: float, height: float, x: tuple[float, float], y: tuple[float, float]) -> tuple[Figure, Axes]:
    figure = new_figure(width, height)
    axes = figure.subplots()
    axes.set(xlim=x, ylim=y)
    axes.axis("off")
    return figure, axes


def _box(
    axes: Axes, corner: tuple[float, float], size: tuple[float, float], fill: str, text: str, edge: str | None = None
) -> None:
    """A block with text in its middle, light on dark and dark on light."""
    style = "round,pad=0,rounding_size=0.06"
    colour = edge or (GREY if fill == "white" else fill)
    dashed = (0, (3, 2)) if fill == "white" else "solid"
    axes.add_patch(FancyBboxPatch(corner, *size, boxstyle=style, facecolor=fill, edgecolor=colour, linestyle=dashed))
    middle = (corner[0] + size[0] / 2, corner[1] + size[1] / 2)
    ink = "white" if fill in (SWITCH, LOW) else INK
    axes.text(
        *middle, "\n".join(textwrap.wrap(text, 15 if size[0] < 1 else 60)), color=ink, ha="center", va="center", size=9
    )


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: str, bend: float = 0.0) -> None:
    """An arrow from `start` to `end`."""
    axes.add_patch(
        FancyArrowPatch(
            start,
            end,
            arrowstyle="-|>",
            mutation_scale=11,
            connectionstyle=f"arc3,rad={bend}",
            color=colour,
            linewidth=1.4,
            shrinkA=0,
            shrinkB=0,
        )
    )


def draw_results() -> Figure:
    """The kept results of the variance study."""
    return draw_study(Study.from_json(json.loads(RESULTS.read_text(encoding="utf-8"))))


PICTURES: dict[str, Callable[[], Figure]] = {
    "episode": draw_episode,
    "backup": draw_backup,
    "variance_study": draw_results,
}


def main() -> None:
    """Draw, or check."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a file is out of date")
    parser.add_argument("--png", type=Path, metavar="FOLDER", help="write bitmaps there instead")
    options = parser.parse_args()
    folder, ending = (options.png, "png") if options.png else (FOLDER, "svg")
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) if options.check else folder
        target.mkdir(parents=True, exist_ok=True)
        for name, draw in PICTURES.items():
            save(draw(), target / f"{name}.{ending}")
        stale = [name for name in PICTURES if options.check and not _same(target, folder, f"{name}.{ending}")]
    if stale:
        sys.exit(f"{', '.join(stale)}: not what would be drawn; run python scripts/draw_pictures.py")


def _same(left: Path, right: Path, name: str) -> bool:
    return (right / name).is_file() and (left / name).read_bytes() == (right / name).read_bytes()


if __name__ == "__main__":
    main()
