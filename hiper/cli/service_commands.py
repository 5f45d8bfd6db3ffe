"""The services as commands: what `hiper up` and the containers run."""

import os
import socket
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from hiper.errors import DependencyError, ExitCode

__all__ = ["add_to", "name_here", "run"]

Config = Annotated[Path, typer.Option("--config", help="Run file.")]
RunDir = Annotated[Path, typer.Option("--run-dir", help="Folder of the run.")]
Name = Annotated[
    str | None,
    typer.Option("--name", help="Name of this process, stable over restarts. Default: the service's and the host's."),
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


def learner(config: Config, run_dir: RunDir, name: Name = None) -> None:
    """Update the policy. Example: hiper learner --config runs/r/config.json --run-dir runs/r.

    Several processes: torchrun --nproc-per-node 8 -m hiper learner ..., with learner.backend deepspeed.
    """
    if os.environ.get("RANK", "0") != "0":
        # Rank 0 answers for all: the others must not want its address.
        os.environ.pop("HIPER_HTTP_ADDRESS", None)
    run("learner", config, run_dir, name)


def control(config: Config, run_dir: RunDir, name: Name = None) -> None:
    """Serve the control API. Example: hiper control --config runs/r/config.json --run-dir runs/r."""
    run("control", config, run_dir, name)


def name_here(service: str) -> str:
    """Return the name of the one process of a service on this host, e.g. in a container."""
    return f"{service}-{socket.gethostname()}"


def run(service: str, config: Path, run_dir: Path, name: str | None) -> None:
    """Run one service to its end and exit with its code."""
    from hiper.service import run_service

    try:
        main = import_module(f"services.{service}.app").main
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in ("hiper", "services"):
            raise
        raise DependencyError(
            f"the {service} service needs the package {error.name}", "pip install 'hiper-rl[learner,serve]'"
        ) from error
    code = run_service(service, main, config=config, run_dir=run_dir, name=name or name_here(service))
    raise typer.Exit(code if code else int(ExitCode.OK))
