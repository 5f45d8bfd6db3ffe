"""What HAE is worth, on a problem small enough to know the truth: python benchmarks/variance_study.py [--quick]

Prints four tables (method.md, section 16): where HAE is flat GAE and where it is not; whether the gradient is unbiased
with exact critics; its variance against flat GAE by switch rate; its bias with noisy critics. `--json` keeps the
figures, `--plot` draws them. About two minutes on one core; `--quick` takes seconds.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from benchmarks.drawing import FORMATS, save
from benchmarks.tabular.episodes import GROUP
from benchmarks.tabular.plot import draw_study
from benchmarks.tabular.problem import FloatArray
from benchmarks.tabular.study import CRITIC, GROUPED, NOISY, Study, StudySettings, run_study

QUICK = StudySettings(rates=(0.05, 0.25, 1.0), seeds=3, episodes=8_000)
_RATIOS = {
    f"{name} / {flat}": (name, flat)
    for name, flat in (
        ("third (1,1)", "flat 1"),
        ("third (1,.95)", "flat 1"),
        ("gain (1,1)", "flat 1"),
        ("third (.95,.95)", "flat .95"),
        ("gain (.95,.95)", "flat .95"),
        ("third (1,1)", "flat .95"),
    )
}


def main(arguments: list[str] | None = None) -> None:
    """Run the study and print it."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.plot and options.plot.suffix not in FORMATS:
        parser.error(f"{options.plot} is not a picture; end its name with {' or '.join(FORMATS)}")
    for path in (options.json, options.plot):
        if path and not path.parent.is_dir():
            parser.error(f"there is no folder for {path}")
    study = run_study(QUICK if options.quick else StudySettings(), lambda line: print(line, file=sys.stderr))
    print("\n".join(report(study)))
    try:
        if options.json:
            options.json.write_text(json.dumps(study.as_json()) + "\n", encoding="utf-8")
        if options.plot:
            save(draw_study(study), options.plot)
    except OSError as error:
        parser.error(f"cannot write {error.filename}: {error.strerror}")


def report(study: Study) -> Iterator[str]:
    """The tables, line by line. Ranges are over seeds."""
    rates = study.settings.rates
    yield "REDUCTIONS: largest difference over all turns"
    for one in study.reductions:
        yield f"  {'equal  ' if one.holds else 'differs'}  {one.difference:8.1e}  {one.statement}"
    yield ""
    yield "BIAS WITH EXACT CRITICS: z over all seeds; beyond 4 there is one"
    yield from _table(CRITIC, rates, lambda name, rate: f"{pooled_z(study.values(name, rate, 'bias_z')):.1f}")
    yield ""
    yield "VARIANCE AGAINST FLAT GAE, exact critics"
    yield from _table(_RATIOS, rates, lambda label, rate: _span(study.ratio(*_RATIOS[label], rate)))
    yield ""
    yield f"BIAS WITH NOISY CRITICS, errors of {study.settings.error:.0%} of the reward: |bias| / |gradient|"
    yield from _table(NOISY, rates, lambda name, rate: _span(study.values(name, rate, "bias", noisy=True)))
    yield ""
    yield "VARIANCE OF THE SWITCH DECISION'S PART OF THE GRADIENT, exact critics"
    shown = ("third (1,.95)", "gain (1,.95)")
    yield from _table(shown, rates, lambda name, rate: _span(study.values(name, rate, "switch_variance")))
    yield ""
    yield f"GROUPS OF {GROUP} EPISODES: length along the gradient; error of direction; variance at that length / flat 1"
    yield from _table(GROUPED, rates, lambda name, rate: _grouped(study, name, rate))


def pooled_z(z: FloatArray) -> float:
    """One figure for independent ones, each standard normal if there is no bias."""
    return float(z.sum() / np.sqrt(len(z)))


def _table(
    names: Iterable[str], rates: tuple[float, ...], entry: Callable[[str, float], str], width: int = 16
) -> Iterator[str]:
    """One row per estimator, one column per switch rate."""
    yield f"  {'switch rate':26}" + "".join(f"{rate:>{width}g}" for rate in rates)
    for name in names:
        yield f"  {name:26}" + "".join(f"{entry(name, rate):>{width}}" for rate in rates)


def _grouped(study: Study, name: str, rate: float) -> str:
    scale = study.values(name, rate, "scale")
    figures = (scale, study.values(name, rate, "turned"), study.ratio(name, "flat 1", rate) / scale**2)
    return " ".join(f"{figure.mean():.2f}" for figure in figures)


def _span(values: FloatArray) -> str:
    return f"{values.min():.2f}-{values.max():.2f}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="fewer problems, episodes and switch rates")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write every figure of every problem")
    parser.add_argument("--plot", type=Path, metavar="OUT.svg|png", help="draw variance and bias by switch rate")
    return parser


if __name__ == "__main__":
    main()
