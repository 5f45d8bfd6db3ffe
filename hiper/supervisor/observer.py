"""What a person wants to know of a run that goes on: read from the broker and from the run's files."""

import asyncio
import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hiper.config import RunConfig
from hiper.durable import JsonValue, write_json
from hiper.errors import BrokerError
from hiper.report.files import PIPELINE_NAME, RunFiles
from hiper.streams import Broker, PipelineState, RunControl, snapshot

__all__ = ["Observation", "Observer"]

_PATIENCE_S = 2.0


@dataclass(frozen=True, slots=True)
class Observation:
    """One look at a run."""

    pipeline: PipelineState | None
    """None while the broker does not answer or the run has not begun."""
    metrics: list[dict[str, Any]] = field(default_factory=list)
    evaluations: list[dict[str, Any]] = field(default_factory=list)


class Observer:
    """Looks at one run. Never waits long, never fails: what cannot be seen is missing from the observation."""

    def __init__(self, config: RunConfig, run_dir: Path) -> None:
        self._config = config
        self._files = RunFiles(run_dir)
        self._settings = config.broker.model_copy(update={"unavailable_timeout_s": _PATIENCE_S})
        self._broker: Broker | None = None
        self._joining = asyncio.Lock()
        self._created = time.monotonic()
        self._since_ms = 0
        """Server time when this was made."""

    async def look(self) -> Observation:
        """Observe the run now."""
        return Observation(await self._pipeline(), self._files.metrics(), self._files.evaluations())

    async def wishes(self) -> Mapping[str, int]:
        """How many processes control wants, by service. Older wishes than this observer were for an earlier life.

        Empty while there is no run, or the broker does not answer.
        """
        with contextlib.suppress(BrokerError):
            broker = await self._join()
            if broker is not None:
                scale = (await RunControl(broker).read()).scale
                return {name: wish.processes for name, wish in scale.items() if wish.at_ms >= self._since_ms}
        return {}

    async def save(self) -> None:
        """Write the pipeline's state to the run directory, for the report."""
        state = await self._pipeline()
        if state is not None:
            write_json(self._files.run_dir / PIPELINE_NAME, pipeline_tree(state))

    async def aclose(self) -> None:
        """Close the connection."""
        if self._broker is not None:
            await self._broker.close()

    async def _pipeline(self) -> PipelineState | None:
        with contextlib.suppress(BrokerError):
            broker = await self._join()
            return await snapshot(broker) if broker is not None else None
        return None

    async def _join(self) -> Broker | None:
        async with self._joining:
            if self._broker is None:
                broker = await Broker.connect(self._settings, self._config.run, "observer")
                try:
                    await broker.join_run(_PATIENCE_S)
                    age_ms = int((time.monotonic() - self._created) * 1000)
                    self._since_ms = await broker.server_time_ms() - age_ms
                except BrokerError:
                    await broker.close()
                    return None
                self._broker = broker
            return self._broker


def pipeline_tree(state: PipelineState) -> dict[str, JsonValue]:
    """Return a state as JSON values."""
    counts = state.counts
    return {
        "trajectories": {
            "published": counts.published,
            "applied": counts.applied,
            "dropped": dict(counts.dropped),
            "dead_lettered": counts.dead_lettered,
            "in_flight": state.in_flight,
            "deduplicated": counts.deduplicated,
            "fenced": counts.fenced,
        },
        "conservation_gap": state.gap,
        "tasks": {"issued": counts.tasks_issued, "done": counts.tasks_done},
    }
