"""How the project's pictures look, and how they are written so that the same drawing gives the same file.

Colours are those of Okabe and Ito, which people who confuse red and green can tell apart; shapes and labels say the
same again. The ground is white, so that a picture reads on a dark page too.
"""

from pathlib import Path

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

__all__ = ["BLUE", "FORMATS", "GREEN", "GREY", "INK", "ORANGE", "PALE", "PURPLE", "RED", "SKY", "new_figure", "save"]

BLUE, ORANGE, GREEN, RED, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
INK, GREY, PALE = "#222222", "#777777", "#E4E4E4"

_STYLE = {
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    # Glyphs as outlines, and ids that do not change from run to run.
    "svg.fonttype": "path",
    "svg.hashsalt": "hiper",
}
FORMATS = (".svg", ".png")
"""What pictures are written as."""


def new_figure(width: float, height: float) -> Figure:
    """An empty picture, in inches."""
    mpl.rcParams.update(_STYLE)
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write `figure` to `path`, whose ending is one of FORMATS."""
    metadata = {"Date": None, "Creator": None} if path.suffix == ".svg" else {"Software": None}
    figure.savefig(path, dpi=150, metadata=metadata)
