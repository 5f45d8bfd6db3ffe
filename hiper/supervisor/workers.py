"""`hiper env serve` with several processes: the same server once per processor, on a port each, kept by the supervisor.

A port each, because a session lives in one process. Behind one port (SO_REUSEPORT) the kernel would choose the process,
anew for every connection: a client that reconnects would find its sessions gone, and one that has a single connection
would have a single process. Clients list the ports as a range in `env.addresses` and keep each session where they put
it. OpenEnv's connections are their sessions, so these do share one port.

Nothing is shared but the machine: a process that dies takes its own sessions along, and is started again. The bound on
parsed games is divided among the processes.
"""

import asyncio
import math
import os
import random
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hiper import logs
from hiper.config import RunConfig, load_config
from hiper.errors import ConfigError, ExitCode, HiperError
from hiper.ports import PortBook
from hiper.rpc.listen import ADDRESS_VARIABLE, OPENENV_SHARED_VARIABLE, OPENENV_VARIABLE, Listen
from hiper.supervisor.plan import HTTP_ADDRESS, ProcessPlan
from hiper.supervisor.probe import ready_probe
from hiper.supervisor.status import ProcessState
from hiper.supervisor.supervise import End, Outcome, Supervisor
from hiper.supervisor.targets import write_targets

__all__ = ["ServeRequest", "plan_workers", "serve_workers", "usable_processors"]

_CACHE_VARIABLE = "HIPER_ENV__CACHE_MB"
_LOOPBACK = "127.0.0.1:0"
_QUOTA_FILE = Path("/sys/fs/cgroup/cpu.max")


@dataclass(frozen=True, slots=True)
class ServeRequest:
    """What `hiper env serve` was asked for."""

    config: Path
    run_dir: Path
    name: str
    workers: int


def usable_processors(quota_file: Path = _QUOTA_FILE) -> int:
    """Processors this process may use: its affinity, and no more than its container's share, rounded up."""
    free = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = quota_file.read_text().split()
    except (OSError, ValueError):
        return free
    return free if quota == "max" else max(1, min(free, math.ceil(int(quota) / int(period))))


def serve_workers(request: ServeRequest) -> int:
    """Keep the workers until SIGTERM or SIGINT, drain them, and return the exit code.

    Raises `ConfigError` for settings no worker could start with, and `HiperError` when one of them cannot be kept up.
    """
    logs.configure(request.name)
    config = load_config(request.config)
    Listen.from_environment()  # refuses what every worker would refuse
    request.run_dir.mkdir(parents=True, exist_ok=True)
    plans = plan_workers(request, config, os.environ, PortBook())
    outcome = asyncio.run(_keep(request, config, plans))
    if outcome.end is End.FAILED:
        raise HiperError(outcome.error, f"see {request.run_dir / 'logs'}")
    return int(ExitCode.OK)


def plan_workers(
    request: ServeRequest, config: RunConfig, environment: Mapping[str, str], ports: PortBook
) -> tuple[ProcessPlan, ...]:
    """Plan every worker: ports counted up from those of the environment, or free ones where it names none."""
    given = {**environment, _CACHE_VARIABLE: str(max(1, config.env.cache_mb // request.workers))}
    if environment.get(OPENENV_VARIABLE):
        given |= {OPENENV_VARIABLE: _counted(environment, OPENENV_VARIABLE, 0, ports), OPENENV_SHARED_VARIABLE: "1"}
    plans = []
    for number in range(request.workers):
        name = f"{request.name}.{number}"
        http = _counted(environment, HTTP_ADDRESS, number, ports)
        grpc = _counted(environment, ADDRESS_VARIABLE, number, ports)
        serve = (sys.executable, "-P", "-m", "hiper", "env", "serve", "--workers", "1", "--name", name)
        plans.append(
            ProcessPlan(
                name,
                "env_server",
                (*serve, "--config", str(request.config), "--run-dir", str(request.run_dir)),
                {**given, HTTP_ADDRESS: http, ADDRESS_VARIABLE: grpc},
                request.run_dir / "logs" / f"{name}.log",
                http=http,
                probe=ready_probe(http, "/readyz"),
            )
        )
    return tuple(plans)


def _counted(environment: Mapping[str, str], variable: str, number: int, ports: PortBook) -> str:
    """The address of `variable` with its port counted up by `number`; a free port where it names none."""
    address = environment.get(variable) or _LOOPBACK
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or int(port) + number > 65_535:
        raise ConfigError(f"{variable}: '{address}' has no port to count from", "write host:port, or use --workers 1")
    return f"{host}:{int(port) + number if int(port) else ports.port(f'{variable}/{number}')}"


async def _keep(request: ServeRequest, config: RunConfig, plans: tuple[ProcessPlan, ...]) -> Outcome:
    log = logs.get()
    told = False

    def tell() -> None:
        nonlocal told
        if not told and all(process.state is ProcessState.READY for process in supervisor.processes()):
            told = True
            shown = [plan.environment[ADDRESS_VARIABLE] for plan in plans]
            log.info("env server ready", addresses=shown, openenv=plans[0].environment.get(OPENENV_VARIABLE))

    supervisor = Supervisor(
        plans, config.supervisor, finished=lambda: False, on_change=tell, generator=random.Random(os.getpid())
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, supervisor.stop)
    write_targets(request.run_dir, config.run, plans)
    try:
        return await supervisor.run()
    finally:
        write_targets(request.run_dir, config.run, ())
        log.info("env server ended")
