"""`helm test`: a trajectory has gone the whole way, from its task to the learner's checkpoint, and none was lost.

It watches the run's own trajectories, since only the learner may issue tasks. Ends with 0 once one is applied and the
conservation law holds; otherwise with a sentence that says where they stay.
"""

import asyncio
import sys
import time
from pathlib import Path

from hiper import logs
from hiper.config import RunConfig, load_config
from hiper.errors import HiperError
from hiper.streams import Broker, PipelineState, snapshot

_LOOK_S = 2.0


async def watch(config: RunConfig, timeout_s: float) -> str:
    """Return what is wrong, or nothing."""
    give_up = time.monotonic() + timeout_s
    broker = await Broker.connect(config.broker, config.run, "helm-test")
    try:
        await broker.join_run(timeout_s)
        while True:
            state = await snapshot(broker)
            if state.gap:
                return f"{state.gap} trajectories are unaccounted for"
            if state.counts.applied:
                return ""
            if time.monotonic() > give_up:
                return f"no trajectory was applied within {timeout_s:g} s; {_where(state)}"
            await asyncio.sleep(_LOOK_S)
    finally:
        await broker.close()


def _where(state: PipelineState) -> str:
    waiting = ", ".join(f"{stream.length} in {name}" for name, stream in state.streams.items())
    return f"published {state.counts.published}; waiting: {waiting}, {state.waiting_members} in batches"


def main(config: str, timeout_s: str) -> int:
    """Print the verdict and return the exit code."""
    logs.configure("helm-test")
    try:
        fault = asyncio.run(watch(load_config(Path(config)), float(timeout_s)))
    except HiperError as error:
        fault = str(error)
    sys.stdout.write(fault + "\n" if fault else "a trajectory went the whole way, and every one is accounted for\n")
    return 1 if fault else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
