"""From the service table and a configuration to the processes of one run: command lines, variables, order, probes."""

import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from hiper.config import RunConfig
from hiper.config.load import PREFIX, RESERVED
from hiper.errors import ConfigError, DependencyError
from hiper.ports import PortBook
from hiper.supervisor.probe import Probe, ready_probe
from hiper.supervisor.table import (
    BROKER,
    BROKER_URL,
    CONTROL_ADDRESS,
    SERVICES,
    WARMSTART,
    WHEN_DONE,
    Ending,
    ServiceSpec,
    layers,
)

__all__ = [
    "CONFIG_NAME",
    "BrokerPlace",
    "ProcessPlan",
    "check_processes",
    "child_environment",
    "plan_run",
    "process_names",
    "wished_scale",
]

CONFIG_NAME = "config.json"
HTTP_ADDRESS = "HIPER_HTTP_ADDRESS"
_OURS = frozenset(
    {
        HTTP_ADDRESS,
        CONTROL_ADDRESS,
        "HIPER_GRPC_ADDRESS",
        "HIPER_OPENENV_ADDRESS",
        "HIPER_OPENENV_SHARED",
        "HIPER_REDIS_URL",
        "HIPER_NO_UI",
    }
)


@dataclass(frozen=True, slots=True)
class ProcessPlan:
    """Everything needed to start one process, any number of times."""

    name: str
    service: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path
    requires: tuple[str, ...] = ()
    """Processes that must have been ready once (a step: ended well) before this one starts."""
    http: str | None = None
    """`host:port` of its health and metrics."""
    health: str = "/readyz"
    probe: Probe | None = None
    """Holds while the process can serve; None for a step, whose end is its readiness."""
    ending: Ending = Ending.NEVER


@dataclass(frozen=True, slots=True)
class BrokerPlace:
    """Where the broker of a run is, and how to start it if it is ours."""

    url: str
    """With credentials: goes into environments, never into arguments, logs or files of the run."""
    argv: tuple[str, ...] = ()
    """Command of an embedded server; empty = somebody else's."""
    environment: Mapping[str, str] | None = None
    answers: Callable[[], Awaitable[bool]] | None = None


def process_names(service: ServiceSpec, scale: Mapping[str, int]) -> tuple[str, ...]:
    """Return the stable names of a service's processes, e.g. `rollout-0`, `rollout-1`; ranks are one."""
    count = 1 if service.ranks else scale.get(service.name, service.count)
    return tuple(f"{service.name}-{index}" for index in range(count))


def wished_scale(scale: Mapping[str, int], wishes: Mapping[str, int]) -> dict[str, int]:
    """Return `scale` with the wishes that can be met while a run goes on; the others are ignored."""
    resizable = {spec.name for spec in SERVICES if spec.resizable}
    return {**scale, **{name: wanted for name, wanted in wishes.items() if name in resizable and wanted > 0}}


def child_environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """Return what a child inherits: everything but settings and addresses, which it is given resolved.

    A setting left in the environment would win over the run's own configuration file.
    """
    return {
        name: value
        for name, value in inherited.items()
        if not name.startswith(PREFIX) or (name in RESERVED and name not in _OURS)
    }


def check_processes(config: RunConfig) -> None:
    """Refuse what cannot be started. Raises `ConfigError` for a scale of an unknown or single service, and for cores
    this process may not use; `DependencyError` for a learner whose backend is not installed."""
    _check_scale(config.supervisor.scale)
    _check_cores(config.supervisor.cores)
    _check_backend(config)


def plan_run(config: RunConfig, run_dir: Path, broker: BrokerPlace, ports: PortBook) -> tuple[ProcessPlan, ...]:
    """Plan every process of a run. Raises what `check_processes` does."""
    check_processes(config)
    scale = config.supervisor.scale
    inherited = child_environment(os.environ)
    announced = {BROKER_URL: broker.url, WHEN_DONE: "exit", **_addresses(scale, ports)}
    plans: list[ProcessPlan] = []
    if broker.argv:
        plans.append(
            ProcessPlan(
                BROKER,
                BROKER,
                broker.argv,
                {**inherited, **(broker.environment or {})},
                _log(run_dir, BROKER),
                probe=broker.answers,
            )
        )
    if config.warmstart.enabled:
        plans.append(_warmstart(run_dir, inherited))
    present: dict[str, tuple[str, ...]] = {plan.name: (plan.name,) for plan in plans}
    present |= {spec.name: process_names(spec, scale) for spec in SERVICES}
    for spec in SERVICES:
        requires = tuple(name for row in spec.requires for name in present.get(row, ()))
        given = {name: announced[name] for name in spec.reads}
        for name in process_names(spec, scale):
            plans.append(_service(_with_ranks(spec, scale), name, run_dir, ports, {**inherited, **given}, requires))
    layers({plan.name: plan.requires for plan in plans})
    return tuple(plans)


def _with_ranks(spec: ServiceSpec, scale: Mapping[str, int]) -> ServiceSpec:
    """Tell the command of a service of several ranks how many they are."""
    count = scale.get(spec.name, 1)
    return replace(spec, command=(*spec.command, "--processes", str(count))) if spec.ranks and count > 1 else spec


def _service(
    spec: ServiceSpec,
    name: str,
    run_dir: Path,
    ports: PortBook,
    environment: Mapping[str, str],
    requires: tuple[str, ...],
) -> ProcessPlan:
    http = ports.address(f"{name}/http")
    variables = {**environment, HTTP_ADDRESS: http}
    if spec.port is not None:
        port = ports.port(name)
        variables |= {variable: template.format(port=port) for variable, template in spec.port.binds.items()}
    return ProcessPlan(
        name,
        spec.name,
        (*_hiper(spec.command), *_common(run_dir), "--name", name),
        variables,
        _log(run_dir, name),
        requires,
        http,
        spec.health,
        ready_probe(http, spec.health),
        spec.ending,
    )


def _warmstart(run_dir: Path, environment: Mapping[str, str]) -> ProcessPlan:
    argv = (*_hiper((WARMSTART,)), "--config", str(run_dir / CONFIG_NAME), "--output", str(run_dir / "model"))
    return ProcessPlan(WARMSTART, WARMSTART, argv, environment, _log(run_dir, WARMSTART), ending=Ending.STEP)


def _addresses(scale: Mapping[str, int], ports: PortBook) -> dict[str, str]:
    found = {}
    for spec in SERVICES:
        if spec.port is not None:
            addresses = [ports.address(name) for name in process_names(spec, scale)]
            listed = f"[{', '.join(map(repr, addresses))}]"
            found[spec.port.variable] = listed if spec.port.many else next(iter(addresses), "")
    return found


def _check_cores(cores: Mapping[str, Sequence[int]]) -> None:
    known = [BROKER, WARMSTART, *(spec.name for spec in SERVICES)]
    for name, wanted in cores.items():
        if name not in known:
            raise ConfigError(f"supervisor.cores: there is no service '{name}'", f"use one of {', '.join(known)}")
        if not hasattr(os, "sched_setaffinity"):
            raise ConfigError("supervisor.cores: this system cannot keep a process to its cores", "leave it out")
        missing = sorted(set(wanted) - os.sched_getaffinity(0))
        if missing:
            usable = ", ".join(map(str, sorted(os.sched_getaffinity(0))))
            raise ConfigError(f"supervisor.cores.{name}: there is no core {missing[0]} for us", f"use some of {usable}")


def _check_scale(scale: Mapping[str, int]) -> None:
    known = {spec.name: spec for spec in SERVICES}
    for name, count in scale.items():
        if name not in known:
            raise ConfigError(f"supervisor.scale: there is no service '{name}'", f"use one of {', '.join(known)}")
        if count > 1 and not (known[name].scalable or known[name].ranks):
            raise ConfigError(f"supervisor.scale: a run has one {name}, not {count}", f"leave {name} out of --scale")


def _check_backend(config: RunConfig) -> None:
    backend, processes = config.learner.backend.name, config.supervisor.scale.get("learner", 1)
    if backend == "torch" and processes > 1:
        raise ConfigError(
            f"supervisor.scale: a learner of {processes} processes needs another learner.backend than 'torch'",
            "set learner.backend.name to deepspeed",
        )
    if backend == "deepspeed" and find_spec("deepspeed") is None:
        raise DependencyError(
            "learner.backend 'deepspeed' needs the package deepspeed", "pip install 'hiper-rl[learner,deepspeed]'"
        )


def _hiper(command: Sequence[str]) -> tuple[str, ...]:
    # -P keeps a folder named `services` in the current directory from hiding the package of that name.
    return sys.executable, "-P", "-m", "hiper", *command


def _common(run_dir: Path) -> tuple[str, ...]:
    return "--config", str(run_dir / CONFIG_NAME), "--run-dir", str(run_dir)


def _log(run_dir: Path, name: str) -> Path:
    return run_dir / "logs" / f"{name}.log"
