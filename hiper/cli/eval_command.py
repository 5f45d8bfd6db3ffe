"""`hiper eval`: how well a model plays a fixed panel."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hiper.cli.output import Format, emit, message
from hiper.cli.packages import packages_for
from hiper.cli.recipes import find_recipe
from hiper.cli.run_commands import collect_overrides
from hiper.errors import ExitCode

if TYPE_CHECKING:
    from hiper.config import RunConfig
    from hiper.report.checkpoint import Checkpoint
    from hiper.report.evaluation import Evaluation

__all__ = ["evaluate"]


def evaluate(
    model: Annotated[str, typer.Argument(help="Folder of a model, of a published version, of an export or of a run.")],
    config: Annotated[
        str | None, typer.Option("--config", help="Run file; default: that of the run the model is from.")
    ] = None,
    panel: Annotated[str | None, typer.Option("--panel", help="Panel, by name or path.")] = None,
    env: Annotated[str | None, typer.Option("--env", help="alfworld, webshop, or module:name of your own.")] = None,
    data: Annotated[Path | None, typer.Option("--data", help="Real data: a folder or the archive.")] = None,
    episodes: Annotated[
        int | None, typer.Option("--episodes", min=1, help="Play only so many tasks, the same ones every time.")
    ] = None,
    temperature: Annotated[float | None, typer.Option("--temperature", min=0.0, help="Sampling temperature.")] = None,
    version: Annotated[int | None, typer.Option("--version", help="Policy version of a run; default: newest.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Report to write, or to go on with.")] = None,
    against: Annotated[
        str | None, typer.Option("--against", help="Another report, or another model to evaluate, to compare with.")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Change a setting: --set rollout.dtype=bfloat16. May be repeated.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Play a panel once with a model: success and its interval, score, turns, what was cut.

    Stop it with Ctrl-C; the same command with the same --out plays the rest.

    Example: hiper eval runs/demo --out eval.json --against runs/demo/model
    """
    from hiper import logs
    from hiper.report.checkpoint import find_checkpoint
    from hiper.report.comparison import compare, comparison_lines
    from hiper.report.evaluation import evaluation_lines

    logs.configure("eval", level=logs.WARNING)
    named = {"evaluation.panel": panel, "evaluation.tasks": episodes, "evaluation.temperature": temperature}
    given = {key: value for key, value in {**named, "env.name": env}.items() if value is not None}
    checkpoint = find_checkpoint(model, version)
    settings = _settings(checkpoint, config, given | collect_overrides(overrides, data))
    other = _other(against) if against else None
    evaluation, interrupted = _play(settings, checkpoint, out)
    document, lines = evaluation.document(), evaluation_lines(evaluation)
    try:
        if other is not None and not interrupted:
            before, interrupted = _played(other, settings, out)
            if not interrupted:
                comparison = compare(before, evaluation)
                document, lines = {**document, "comparison": comparison}, [*lines, *comparison_lines(comparison)]
    finally:  # what was played is said, whatever becomes of the other
        emit(document, Format.JSON if as_json else Format.TEXT, lines)
    if interrupted:
        message(f"stopped; the same command plays the rest: {out}" if out else "stopped; with --out it could go on")
        raise typer.Exit(int(ExitCode.INTERRUPTED))


def _settings(checkpoint: "Checkpoint", config: str | None, given: dict[str, object]) -> "RunConfig":
    """The settings to play under: a run file's, else those of the run the model is from, else the defaults."""
    from hiper.config import load_config, parse_config

    given["model.path"] = checkpoint.path
    if checkpoint.sha256:  # a folder has no revision
        given["model.revision"] = None
    if config is not None:
        return load_config(find_recipe(config), overrides=given)
    if checkpoint.settings:
        message(f"settings of {checkpoint.settings_file}")
        return parse_config(checkpoint.settings, source=checkpoint.settings_file, overrides=given)
    return parse_config({}, source="the defaults", overrides=_meant_by_panel(given) | given)


def _meant_by_panel(given: dict[str, object]) -> dict[str, object]:
    """Environment and step limit of the panel that is named."""
    from hiper.envs.panels import load_panel
    from hiper.vocabulary import EnvName

    if "evaluation.panel" not in given:
        return {}
    panel = load_panel(str(given["evaluation.panel"]))
    built_in = {"env.name": panel.env} if panel.env in tuple(EnvName) else {}
    return {**built_in, "env.max_steps": panel.max_steps}


def _other(against: str) -> "Checkpoint | Evaluation":
    """What to compare with: a report, or a model that is still to be evaluated."""
    from hiper.report.checkpoint import find_checkpoint
    from hiper.report.evaluation import read_evaluation

    return read_evaluation(Path(against)) if Path(against).is_file() else find_checkpoint(against)


def _played(other: "Checkpoint | Evaluation", settings: "RunConfig", out: Path | None) -> "tuple[Evaluation, bool]":
    """The evaluation to compare with; a model plays under the first one's settings, its report beside that one."""
    from hiper.report.evaluation import Evaluation

    if isinstance(other, Evaluation):
        return other, False
    model = settings.model.model_copy(update={"path": other.path, "revision": None})
    beside = None if out is None else out.with_name(f"{out.stem}.against{out.suffix}")
    return _play(settings.model_copy(update={"model": model}), other, beside)


def _play(settings: "RunConfig", checkpoint: "Checkpoint", out: Path | None) -> "tuple[Evaluation, bool]":
    with packages_for("an evaluation", "serve"):
        from services.rollout.evaluate import EvaluationRequest, run_evaluation

        return run_evaluation(EvaluationRequest(settings, checkpoint, out), message)
