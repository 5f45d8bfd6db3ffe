"""Questions of commands to the broker of a run on this machine."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from hiper.errors import RunStateError

__all__ = ["ask_broker"]

T = TypeVar("T")
_PATIENCE_S = 3.0


def ask_broker(run_dir: Path, ask: Callable[[Any], Awaitable[T]]) -> T:
    """Return what `ask` makes of the `Broker` of the run in `run_dir`. Raises `RunStateError`, `BrokerError`."""
    from hiper import logs

    logs.configure("cli", level=logs.WARNING)
    return asyncio.run(_ask(run_dir, ask))


async def _ask(run_dir: Path, ask: Callable[[Any], Awaitable[T]]) -> T:
    from hiper.config import load_config
    from hiper.embedded_broker import running_url
    from hiper.streams import Broker

    if not (run_dir / "config.json").exists():
        raise RunStateError(f"{run_dir} holds no run", "give --run-dir the folder of a run that is up")
    config = load_config(run_dir / "config.json")
    settings = config.broker.model_copy(update={"unavailable_timeout_s": _PATIENCE_S})
    if settings.url is None:
        settings = settings.model_copy(update={"url": running_url(run_dir / "broker")})
    async with await Broker.connect(settings, config.run, "cli") as broker:
        await broker.join_run(_PATIENCE_S)
        return await ask(broker)
