"""`hiper chaos`: the same run once in peace, then under the nemesis, round after round until every kill is done.

A round is a whole run of `hiper up` with a broker of its own behind the fault proxy. It plays with an engine that
ignores the weights, so the trajectories of a task are the same in every round and the parameters must be, too.
"""

import asyncio
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from hiper.chaos.checker import outcome_of
from hiper.chaos.nemesis import Nemesis
from hiper.chaos.plan import PlanLimits, deeds
from hiper.chaos.proxy import FaultProxy
from hiper.chaos.report import ChaosReport, Round, summarise
from hiper.chaos.victims import OwnBroker, RunProcess, Victim
from hiper.config import RunConfig
from hiper.durable import write_json
from hiper.errors import ConfigError, RunStateError
from hiper.supervisor.plan import process_names
from hiper.supervisor.status import read_status
from hiper.supervisor.table import SERVICES

__all__ = ["ChaosRequest", "run_chaos"]

_ROUND_BOUND_S = 1800.0
"""A round that takes longer is a hang: the run is ended and the round has failed."""
_APPEAR_BOUND_S = 60.0
_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class ChaosRequest:
    """What to do."""

    config: RunConfig
    directory: Path
    """Where the runs are kept."""
    kills: int
    seed: int
    limits: PlanLimits


async def run_chaos(request: ChaosRequest, say: Callable[[str], None]) -> ChaosReport:
    """Run the experiment. Raises `ConfigError` for a run whose outcome would not be comparable."""
    if request.config.rollout.engine != "random" or not request.config.learner.deterministic:
        raise ConfigError(
            "chaos compares parameters: it needs rollout.engine 'random' and learner.deterministic",
            "use --config chaos, or attach to a run of your own with --run-dir",
        )
    started = time.monotonic()
    say("round 0: the run in peace")
    peaceful = await _round(request, "peace", request.config, None, say)
    if peaceful.outcome.gap != 0 or not peaceful.outcome.complete:
        raise RunStateError(
            f"the run does not even complete in peace: {peaceful.outcome.error}", f"see {request.directory / 'peace'}"
        )
    config = _with_model(request.config, request.directory / "peace" / "run" / "model")
    rounds: list[Round] = []
    kills = 0
    while kills < request.kills:
        number = len(rounds) + 1
        say(f"round {number}: {kills} of {request.kills} kills done, seed {request.seed + number}")
        plan = _Trouble(request.seed + number, request.kills - kills, request.limits)
        ended = await _round(request, f"round-{number}", config, plan, say)
        ended.judge(peaceful.outcome)
        for fault in ended.faults:
            say(f"FAULT in round {number}: {fault}")
        rounds.append(ended)
        done = sum(ended.history.kills.values())
        if not done:
            ended.faults.append("no process could be hit")
            break
        kills += done
    report = summarise(request.seed, peaceful.outcome, rounds, time.monotonic() - started)
    write_json(request.directory / "chaos.json", report.as_json())
    return report


@dataclass(frozen=True, slots=True)
class _Trouble:
    seed: int
    kills: int
    limits: PlanLimits


async def _round(
    request: ChaosRequest, name: str, config: RunConfig, trouble: _Trouble | None, say: Callable[[str], None]
) -> Round:
    folder = request.directory / name
    shutil.rmtree(folder, ignore_errors=True)
    run_dir = folder / "run"
    folder.mkdir(parents=True)
    write_json(folder / "config.json", config.model_dump(mode="json"))
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(OwnBroker(config.broker, folder / "broker"))
        address = urlsplit(broker.launch.url.get_secret_value())
        target = (str(address.hostname), int(address.port or 0))
        proxy = FaultProxy(*target, random.Random(f"proxy/{request.seed}/{name}"))
        await stack.enter_async_context(proxy)
        url = address._replace(netloc=f":{address.password}@127.0.0.1:{proxy.port}").geturl()
        process = await _start(folder, run_dir, url)
        names = [process for spec in SERVICES for process in process_names(spec, config.supervisor.scale)]
        victims: list[Victim] = [broker, *(RunProcess(run_dir, victim) for victim in names)]
        nemesis = Nemesis(victims, lambda: _ended(run_dir, process), say, proxy)
        faults = []
        try:
            async with asyncio.timeout(_ROUND_BOUND_S):
                await _appears(run_dir, process)
                if trouble is not None:
                    plan = deeds(trouble.seed, [victim.name for victim in victims], trouble.limits, network=True)
                    await nemesis.rage(plan, trouble.kills)
                await process.wait()
        except TimeoutError:
            faults.append(f"the run did not end within {_ROUND_BOUND_S:g} s")
        finally:
            await _end(process)
    return Round(outcome_of(run_dir), nemesis.history, faults)


async def _start(folder: Path, run_dir: Path, broker_url: str) -> asyncio.subprocess.Process:
    with (folder / "up.log").open("wb") as log:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "hiper", "up", "--no-ui"),
            *("--config", str(folder / "config.json"), "--run-dir", str(run_dir)),
            env={**os.environ, "HIPER_BROKER__URL": broker_url},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=asyncio.subprocess.STDOUT,
        )


async def _appears(run_dir: Path, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(_APPEAR_BOUND_S):
        while not (run_dir / "status.json").exists() and process.returncode is None:  # noqa: ASYNC110
            await asyncio.sleep(_POLL_S)
    if not (run_dir / "status.json").exists():
        raise RunStateError("`hiper up` ended at once", f"see {run_dir.parent / 'up.log'}")


def _ended(run_dir: Path, process: asyncio.subprocess.Process) -> bool:
    return process.returncode is not None or read_status(run_dir).phase != "running"


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGKILL)  # its guardian ends what it had started
    await process.wait()


def _with_model(config: RunConfig, model: Path) -> RunConfig:
    """The same run on a model that is there, so that no round makes it again."""
    if not config.warmstart.enabled:
        return config
    return config.model_copy(
        update={
            "warmstart": config.warmstart.model_copy(update={"enabled": False}),
            "model": config.model.model_copy(update={"path": str(model.resolve()), "critic_path": None}),
        }
    )
