"""`hiper env serve|play|export`; listing tasks and panels is in panel_commands."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hiper.cli import panel_commands, service_commands
from hiper.cli.output import message
from hiper.cli.panel_commands import Data, Env
from hiper.errors import DataError

if TYPE_CHECKING:
    from hiper.envs.play import PlayRequest

__all__ = ["app"]

app = typer.Typer(help="Environments: serve, play, list.", no_args_is_help=True)
panel_commands.add_to(app)


@app.command()
def serve(
    config: service_commands.Config,
    run_dir: service_commands.RunDir,
    name: service_commands.Name = None,
    openenv: Annotated[
        str | None,
        typer.Option("--openenv", envvar="HIPER_OPENENV_ADDRESS", help="host:port for OpenEnv clients; default: none."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=0, help="Processes; 0 = one per processor; default: env.workers.")
    ] = None,
) -> None:
    """Host environments over gRPC. Example: hiper env serve --config runs/r/config.json --run-dir runs/r."""
    from hiper.config import load_config
    from hiper.rpc.listen import OPENENV_VARIABLE
    from hiper.supervisor.workers import ServeRequest, serve_workers, usable_processors

    if openenv:
        os.environ[OPENENV_VARIABLE] = openenv
    wanted = load_config(config).env.workers if workers is None else workers
    count = wanted or usable_processors()
    if count == 1:
        service_commands.run("env_server", config, run_dir, name)
    raise typer.Exit(
        serve_workers(ServeRequest(config, run_dir, name or service_commands.name_here("env_server"), count))
    )


@app.command()
def play(
    task: Annotated[
        str | None,
        typer.Option("--task", help="Task id; a game file's path below --data; goal:N of WebShop. Default: any."),
    ] = None,
    env: Env = "alfworld",
    data: Data = None,
    actions: Annotated[str | None, typer.Option("--actions", help="File with one action a line; - = stdin.")] = None,
    max_steps: Annotated[int | None, typer.Option("--max-steps", help="Step limit; 0 = none; default: 50.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of the environment.")] = None,
    observation: Annotated[
        str | None, typer.Option("--observation", help="WebShop's pages: text or text_rich; default: text.")
    ] = None,
) -> None:
    """Play one task, one JSON line a step; without --actions a person plays at the terminal.

    Example: hiper env play --task synth-alfworld/demo/pick_and_place_simple/1
    """
    from hiper.envs.play import PlayRequest
    from hiper.envs.play import play as lines_of

    request = PlayRequest(env=env, data=data, task=task, max_steps=max_steps, seed=seed, observation=observation)
    if actions is None and sys.stdin.isatty():
        _play_in_person(request)
        return
    for line in lines_of(request, _from_file(actions or "-")):
        sys.stdout.write(json.dumps(line) + "\n")  # ASCII: no text in it can break a line
        sys.stdout.flush()


@app.command()
def export(
    task: Annotated[str, typer.Option("--task", help="Id of a generated ALFWorld task.")],
    logic: Annotated[Path, typer.Option("--logic", help="Folder with alfred.pddl and .twl2, or a real game.")],
    out: Annotated[Path, typer.Option("--out", help="Where the game file is written.")],
) -> None:
    """Write a generated game with the original's texts, so that TextWorld can play it.

    Example: hiper env export --task synth-alfworld/20/pick_two_obj_and_place/1 --logic logic --out game.tw-pddl
    """
    from hiper.envs.alfworld.export import export_game

    text = export_game(task, logic)
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise DataError(f"cannot write {out}: {error.strerror}", "give --out a path in an existing folder") from error
    message(f"written: {out}")


def _play_in_person(request: "PlayRequest") -> None:
    from hiper.cli.person import Person
    from hiper.envs.play import play as lines_of

    with suppress(ImportError):
        import readline  # noqa: F401 - line editing and history in input()
    person = Person()
    for line in lines_of(request, person.actions()):
        person.show(line)
        if line["terminated"] or line["truncated"]:
            return


def _from_file(name: str) -> Iterator[str]:
    if name == "-":
        yield from (line.rstrip("\n") for line in sys.stdin)
        return
    try:
        text = Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise DataError(f"cannot read the actions in {name}: {reason}", "give a file, or - for stdin") from error
    lines = text.split("\n")  # an action may hold other line breaks, such as U+2028
    yield from lines if lines[-1] else lines[:-1]
