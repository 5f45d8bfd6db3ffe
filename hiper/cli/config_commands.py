"""`hiper config show|check|plan|schema`."""

import json
import sys
from typing import Annotated

import typer

from hiper.cli.output import Format, FormatOption, emit, message
from hiper.cli.recipes import find_recipe
from hiper.config import RunConfig, config_hash, load_config

__all__ = ["app"]

app = typer.Typer(help="Settings: show, check, plan, schema.", no_args_is_help=True)

Recipe = Annotated[str, typer.Argument(help="Run file, or the name of one in configs/.")]


@app.command()
def show(recipe: Recipe) -> None:
    """Print the effective settings as YAML, secrets masked. Example: hiper config show demo."""
    import yaml

    config = load_config(find_recipe(recipe))
    sys.stdout.write(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))


@app.command()
def check(recipe: Recipe) -> None:
    """Exit 0 if a run file is valid. Example: hiper config check configs/demo.yaml."""
    config = load_config(find_recipe(recipe))
    message(f"valid; sha256 {config_hash(config)[:12]}")


@app.command()
def plan(
    recipe: Recipe,
    learners: Annotated[int, typer.Option("--learners", min=1, help="GPUs of the learner.")] = 1,
    rollouts: Annotated[int, typer.Option("--rollouts", min=1, help="GPUs of the rollouts.")] = 1,
    form: FormatOption = Format.TEXT,
) -> None:
    """Estimate memory and time on each type of GPU, starting nothing. Example: hiper config plan demo --learners 4."""
    from dataclasses import asdict

    from hiper.dry_run import Fleet, plan_run, workload

    config = load_config(find_recipe(recipe))
    plans, work = plan_run(config, Fleet(learners, rollouts)), workload(config)
    lines = [
        f"{config.run}: {work.turns:,} turns of {work.row:,} tokens an iteration at most, "
        f"{config.learner.iterations} iterations; {learners} GPU to learn, {rollouts} to play",
        f"{'GPU':12}{'memory':>8}{'learner':>9}{'rollout':>9}{'':6}{'update':>9}{'playing':>9}{'run':>9}",
        *(
            f"{one.gpu:12}{one.memory_gib:6,.0f} G{one.learner_gib:7,.0f} G{one.rollout_gib:7,.0f} G"
            f"  {'fits' if one.fits else 'NO':4}{one.learner_s:7,.0f} s{one.rollout_s:7,.0f} s{one.run_h:7,.0f} h"
            for one in plans
        ),
        "Estimates, to a quarter or so. Longest iterations: no episode ends early.",
    ]
    emit([asdict(one) | {"fits": one.fits} for one in plans], form, lines)


@app.command()
def schema() -> None:
    """Print the JSON Schema of run files. Example: hiper config schema > configs/schema.json."""
    sys.stdout.write(json.dumps(RunConfig.model_json_schema(), indent=2) + "\n")
