"""The services as commands: what `hiper up` and the containers run."""

import os
import socket
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from hiper.cli.packages import packages_for

__all__ = ["add_to", "name_here", "run"]

Config = Annotated[Path, typer.Option("--config", help="Run file.")]
RunDir = Annotated[Path, typer.Option("--run-dir", help="Folder of the run.")]
Name = Annotated[
    str | None,
    typer.Option("--name", help="Name of this process, stable over restarts. Default: the service's and the host's."),
]
Processes = Annotated[
    int, typer.Option("--processes", min=1, help="Ranks on this machine; several need learner.backend deepspeed.")
]


def add_to(app: typer.Typer) -> None:
    """Register the services that are a noun of their own."""
    for command in (rollout, reward, learner, control):
        app.command()(command)


def rollout(config: Config, run_dir: RunDir, name: Name = None) -> None:
    """Play episodes with vLLM. Example: hiper rollout --config runs/r/config.json --run-dir runs/r."""
    run("rollout", config, run_dir, name)


def reward(config: Config, run_dir: RunDir, name: Name = None) -> None:
    """Score trajectories. Example: hiper reward --config runs/r/config.json --run-dir runs/r."""
    run("reward", config, run_dir, name)


def learner(config: Config, run_dir: RunDir, name: Name = None, processes: Processes = 1) -> None:
    """Update the policy. Example: hiper learner --config runs/r/config.json --run-dir runs/r --processes 8.

    On several machines: torchrun --nnodes 2 --nproc-per-node 8 -m hiper learner ...
    """
    if processes > 1:
        raise typer.Exit(_ranks(config, run_dir, name, processes))
    if os.environ.get("RANK", "0") != "0":
        # Rank 0 answers for all: the others must not want its address.
        os.environ.pop("HIPER_HTTP_ADDRESS", None)
    code = _serve("learner", config, run_dir, name)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        # Gloo's threads may abort a process that Python ends in order (pytorch/pytorch#179291). All is written.
        sys.stderr.flush()
        os._exit(code)
    raise typer.Exit(code)


def _ranks(config: Path, run_dir: Path, name: str | None, processes: int) -> int:
    from hiper.supervisor.children import tied

    with packages_for("a learner of several processes", "learner,deepspeed"):
        from services.learner.launcher import launch
    options = ("--config", str(config), "--run-dir", str(run_dir), "--name", name or name_here("learner"))
    return launch(tied((sys.executable, "-P", "-m", "hiper", "learner", *options)), processes)


def control(config: Config, run_dir: RunDir, name: Name = None) -> None:
    """Serve the control API. Example: hiper control --config runs/r/config.json --run-dir runs/r."""
    run("control", config, run_dir, name)


def name_here(service: str) -> str:
    """Return the name of the one process of a service on this host, e.g. in a container."""
    return f"{service}-{socket.gethostname()}"


def run(service: str, config: Path, run_dir: Path, name: str | None) -> None:
    """Run one service to its end and exit with its code."""
    raise typer.Exit(_serve(service, config, run_dir, name))


def _serve(service: str, config: Path, run_dir: Path, name: str | None) -> int:
    from hiper.service import run_service

    with packages_for(f"the {service} service", "learner,serve"):
        main = import_module(f"services.{service}.app").main
    return run_service(service, main, config=config, run_dir=run_dir, name=name or name_here(service))
