"""The learning curve as a picture."""

from pathlib import Path

from hiper.report.files import RunFiles

__all__ = ["draw_learning_curve"]

_EVAL, _TRAIN = "#0072b2", "#9a9a9a"


def draw_learning_curve(files: RunFiles, path: Path) -> bool:
    """Draw evaluation success with its interval, and training success behind it; False without matplotlib or data."""
    evaluations, metrics = files.evaluations(), files.metrics()
    if not evaluations:
        return False
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    if metrics:
        axes.plot(
            [line["version"] - 1 for line in metrics],
            [line["success"] for line in metrics],
            color=_TRAIN,
            linewidth=1,
            label="training batch (temperature 1)",
        )
    versions = [line["version"] for line in evaluations]
    low, high = [line["low"] for line in evaluations], [line["high"] for line in evaluations]
    axes.fill_between(versions, low, high, color=_EVAL, alpha=0.18, linewidth=0, label="95 % interval")
    axes.plot(versions, [line["success"] for line in evaluations], color=_EVAL, marker="o", linewidth=2, label="panel")
    for line in (evaluations[0], evaluations[-1]):
        at = (line["version"], line["success"])
        axes.annotate(f"{line['success']:.0%}", at, textcoords="offset points", xytext=(0, 9), ha="center", color=_EVAL)
    last = evaluations[-1]
    axes.set_title(f"Success on {last['expected']} held-out tasks ({last['split']})")
    axes.set_xlabel("policy version")
    axes.set_ylabel("share of episodes won")
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
    return True
