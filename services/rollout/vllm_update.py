"""How new weights get into vLLM's workers, the same for an engine in this process and for a server.

First they are made ready beside those in force, while generation goes on; then, in a pause, they are put in force.
Models that cannot have two sets of weights (`services.rollout.vllm_staging`) load all of it in the pause.
"""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hiper import logs
from hiper.errors import IntegrityError

__all__ = ["InForce", "Workers", "load_in_the_pause", "make_ready"]

_LOOK_S = 0.02
"""Between two looks at whether the workers are ready."""


class Workers(Protocol):
    """The worker processes of an engine."""

    def __call__(self, method: str, *args: str) -> Awaitable[list[object]]:
        """Call a method of `services.rollout.vllm_worker.WeightsExtension` in each; the results in order."""
        ...


@dataclass(frozen=True, slots=True)
class InForce:
    """The call that puts weights in force, to be made while generation is paused."""

    method: str
    args: tuple[str, ...] = ()


async def make_ready(workers: Workers, directory: Path) -> InForce:
    """Let every worker load `directory` beside the weights in force, if it can. The caller bounds the time.

    Raises `IntegrityError` if one of them failed; the weights in force go on.
    """
    if reasons := [str(reason) for reason in await workers("hiper_stage", str(directory)) if reason]:
        logs.get().info("weights are loaded in the pause", reason=reasons[0])
        return load_in_the_pause(directory)
    while None in (states := await workers("hiper_staged")):  # noqa: ASYNC110 - it happens in other processes
        await asyncio.sleep(_LOOK_S)
    if failures := [str(state) for state in states if state]:
        raise IntegrityError(f"{directory}: vLLM did not load it: {failures[0]}")
    return InForce("hiper_put_in_force")


def load_in_the_pause(directory: Path) -> InForce:
    """The call for workers without room for a second set of weights."""
    return InForce("hiper_reload", (str(directory),))
