"""`hiper bench env`: environments in this process, on one core, and through gRPC; the original ALFWorld beside them.

Real games with `--data` (a folder, or the archive as it is), generated ones without. The original is measured where it
is installed, here or for the interpreter that `HIPER_ORIGINAL_PYTHON` names.
"""

import statistics

from hiper.bench import webshop
from hiper.bench.alfworld import draw_sample, measure, measure_original
from hiper.bench.env_service import BATCH, BATCHES_IN_FLIGHT, measure_service
from hiper.bench.timing import BenchOptions, Report, Say
from hiper.envs.alfworld.original import find_original

__all__ = ["run"]


def run(options: BenchOptions, say: Say) -> Report:
    """Measure everything that can be measured here. Raises `DataError` for data that cannot be used."""
    sample = draw_sample(options)
    report = Report("env", {"alfworld": sample.where, "alfworld_version": sample.version}, options.repeats)
    if options.data is None:
        report.notes.append("generated games: give --data for the real ones")
    figures, sizes = measure(sample, options, say)
    shop_figures, shop_sizes = webshop.measure(options, say)
    report.figures += [*figures, measure_service(options, say), *shop_figures]
    report.sizes = {**sizes, "webshop": shop_sizes, "batch": BATCH, "batches_in_flight": BATCHES_IN_FLIGHT}
    if options.data is None or find_original() is None:
        why = (
            "it plays real games only"
            if options.data is None
            else "it is not installed (pip install 'hiper-rl[oracle]')"
        )
        report.notes.append(f"the original ALFWorld was not measured: {why}")
    else:
        original = measure_original(sample, options, say)
        report.figures += original
        factor = statistics.median(figures[0].values) / statistics.median(original[0].values)
        report.notes.append(f"{factor:,.0f} times as many steps a second as the original")
    return report
