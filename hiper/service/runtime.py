"""The life of a service process, from its command line to its exit code.

`run_service` loads the settings, starts logs and the HTTP server, runs the service's `main` until it returns or
SIGTERM sets `context.stop`, and turns a `HiperError` into one log line and an exit code. The first SIGTERM asks for a
drain, the second one ends the process at once. A service's `app.py` only wires its parts inside `main`.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from hiper import __version__, logs, tracing
from hiper.config import RunConfig, config_hash, load_config
from hiper.errors import ExitCode, HiperError
from hiper.failpoint import VARIABLE, arm_failpoint
from hiper.metrics import gauge
from hiper.service.health import Health
from hiper.service.http import HttpServer, create_app

__all__ = ["HTTP_ADDRESS_VARIABLE", "ServiceContext", "run_service"]

HTTP_ADDRESS_VARIABLE = "HIPER_HTTP_ADDRESS"
_BEAT_S = 1.0


@dataclass(frozen=True, slots=True)
class ServiceContext:
    """What a service's `main` is given."""

    config: RunConfig
    run_dir: Path
    name: str
    """Name of this process, stable over restarts, e.g. `rollout-0`; also its consumer name."""
    health: Health
    stop: asyncio.Event
    """Set by the first SIGTERM or SIGINT: stop taking work, finish or hand back what is held, return."""
    log: logs.Logger


ServiceMain = Callable[[ServiceContext], Awaitable[None]]


def run_service(component: str, main: ServiceMain, *, config: Path, run_dir: Path, name: str) -> int:
    """Run `main` to its end and return the exit code."""
    logs.configure(name)
    try:
        arm_failpoint(os.environ.get(VARIABLE))
        settings = load_config(config)
        logs.configure(name, run=settings.run, extra=(tracing.add_trace_id,))
        tracing.configure(tracing.Process(component, name, settings.run), settings.tracing)
        return asyncio.run(_serve(component, main, settings, run_dir, name))
    except HiperError as error:
        logs.get().error("service failed", error=str(error), kind=type(error).__name__)
        return int(error.exit_code)
    except BaseExceptionGroup as group:
        return _report_group(group)
    except KeyboardInterrupt:
        return int(ExitCode.INTERRUPTED)
    finally:
        tracing.shutdown()


async def _serve(component: str, main: ServiceMain, settings: RunConfig, run_dir: Path, name: str) -> int:
    health = Health()
    context = ServiceContext(settings, run_dir, name, health, asyncio.Event(), logs.get())
    _install_signals(context)
    gauge("build_info").labels(version=__version__, component=component).set(1)
    gauge("config_info").labels(sha256=config_hash(settings)[:12]).set(1)
    health.set("service", False, "starting")
    address = os.environ.get(HTTP_ADDRESS_VARIABLE, "127.0.0.1:0")
    with HttpServer(create_app(component, health), address) as server:
        context.log.info("service starting", component=component, http_port=server.port, version=__version__)
        beat = asyncio.create_task(_beat(health))
        try:
            await main(context)
        finally:
            beat.cancel()
        context.log.info("service ended")
    return int(ExitCode.OK)


async def _beat(health: Health) -> None:
    while True:
        health.beat()
        await asyncio.sleep(_BEAT_S)


def _install_signals(context: ServiceContext) -> None:
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if context.stop.is_set():
            os._exit(int(ExitCode.INTERRUPTED))
        context.health.set("service", False, "draining")
        context.log.info("draining; a second signal ends the process at once")
        context.stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)


def _report_group(group: BaseExceptionGroup[BaseException]) -> int:
    """Log the first `HiperError` of a task group as one line; anything else is a defect and keeps its traceback."""
    expected, unexpected = group.split(HiperError)
    if unexpected is not None or expected is None:
        logs.get().error("service crashed", exc_info=group)
        return int(ExitCode.FAILURE)
    error = _first(expected)
    logs.get().error("service failed", error=str(error), kind=type(error).__name__)
    sys.stderr.flush()
    return int(error.exit_code) if isinstance(error, HiperError) else int(ExitCode.FAILURE)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
