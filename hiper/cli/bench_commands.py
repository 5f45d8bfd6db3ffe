"""`hiper bench NAME`: how fast this installation is on this machine."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from hiper.cli.output import Format, emit, message

__all__ = ["app"]

app = typer.Typer(help="Benchmarks on this machine.", no_args_is_help=True)

_BENCHMARKS = {
    "advantages": ("hiper.bench.advantages", "Advantages: from the numbers of a batch's turns to targets by token."),
    "env": ("hiper.bench.env", "Environments: loads, resets and steps, in process and through gRPC."),
    "learner": (
        "services.learner.bench",
        "The update on packed rows beside padded ones; memory of the log-probability step.",
    ),
    "loop": (
        "hiper.bench.loop",
        "Policy updates an hour of whole runs: rollout and learner at once, beside one waiting for the other.",
    ),
    "rollout": (
        "services.rollout.bench",
        "Continuous episodes beside a lock-step driver and bare vLLM, on the same engine and episodes.",
    ),
    "streams": ("hiper.bench.streams", "Delivery: throughput beside bare commands, latency of each stage, growth."),
    "weights": (
        "hiper.bench.weights services.learner.bench_delta services.rollout.bench_weights",
        "Weights: publish to serving beside bare disk and link, the pause, deltas, the learner's upload.",
    ),
}
"""Name to the modules that run it, one report together, and what it measures. Adding a benchmark is a line here."""


def _command(modules: str) -> Callable[..., None]:
    def run(
        data: Annotated[Path | None, typer.Option("--data", help="Real data; default: synthetic.")] = None,
        repeats: Annotated[int, typer.Option("--repeats", min=1, help="Times everything is measured.")] = 5,
        scale: Annotated[float, typer.Option("--scale", min=0.001, help="Share of the usual amount of work.")] = 1.0,
        seed: Annotated[int, typer.Option("--seed", help="Seed of everything drawn.")] = 0,
        as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
    ) -> None:
        from hiper import logs
        from hiper.bench.timing import BenchOptions

        logs.configure("bench", level=logs.WARNING)
        first, *others = (
            import_module(module).run(BenchOptions(data, repeats, scale, seed), message) for module in modules.split()
        )
        report = first.joined(*others)
        emit(report.to_json(), Format.JSON if as_json else Format.TEXT, report.lines())

    return run


for _name, (_modules, _measures) in _BENCHMARKS.items():
    app.command(_name, help=f"{_measures} Example: hiper bench {_name} --json.")(_command(_modules))
