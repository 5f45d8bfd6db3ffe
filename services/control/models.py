"""What the API answers, field by field: the source of `openapi.json`."""

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from hiper.streams import DeadLetter, PipelineState, RunPhase
from hiper.streams.keys import GROUPS, PIPELINE
from hiper.vocabulary import Stream

__all__ = [
    "DeadLetterDetail",
    "DeadLetterPage",
    "DeadLetterSummary",
    "EntryId",
    "Figure",
    "LetterPage",
    "Line",
    "Lines",
    "Model",
    "Page",
    "Pipeline",
    "ProcessStatus",
    "Replicas",
    "RunSummary",
    "ServiceStatus",
    "Settled",
    "StreamStatus",
]

EntryId = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,19}-[0-9]{1,19}$")]
"""Id of a stream entry: milliseconds and a number, as `hiper dlq list` prints it."""


def _finite(value: Any) -> Any:
    """JSON has no infinity and no NaN: null stands for them."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list) else value


Figure = Annotated[float | None, BeforeValidator(_finite)]
"""A number; null if there is none, or it is not finite."""
Line = Annotated[dict[str, Any], BeforeValidator(_finite)]
"""A line of a run's files."""


class Model(BaseModel):
    """Documents its fields by the lines below them."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class RunSummary(Model):
    """A run, from the learner's point of view."""

    run: str
    phase: RunPhase
    """In force, as the learner said between its last two iterations."""
    pause_requested: bool
    stop_requested: bool
    """Not yet carried out."""
    evaluation_requested: bool
    """Not yet carried out."""
    policy_version: int | None
    """Published version; null before the first one."""
    generation: int | None
    """Generation of the learner that published it."""
    iterations: int
    """Versions of the whole run."""
    last_iteration: Line | None
    """Last line of metrics.jsonl."""
    last_evaluation: Line | None
    """Last line of evals.jsonl."""


class StreamStatus(Model):
    """One stream and the stage that reads it."""

    stream: str
    group: str
    """Consumer group: the stage."""
    length: int
    """Entries not acknowledged."""
    pending: int
    """Of these: delivered."""
    lag: int
    """Of these: not delivered."""
    oldest_pending_age_s: float


class Pipeline(Model):
    """The pipeline at one instant, and what became of every trajectory of the run."""

    at_ms: int
    """Server time, Unix milliseconds."""
    streams: list[StreamStatus]
    published: int
    applied: int
    dropped: dict[str, int]
    """By reason."""
    dead_lettered: int
    in_flight: int
    conservation_gap: int
    """0 always: published = applied + dropped + dead-lettered + in flight."""
    dead_letters: int
    """Entries of every kind among the dead letters."""
    open_batches: int

    @classmethod
    def of(cls, state: PipelineState) -> "Pipeline":
        """Put a measurement in words."""
        counts = state.counts
        return cls(
            at_ms=state.at_ms,
            streams=[_stream(state, stream) for stream in PIPELINE],
            published=counts.published,
            applied=counts.applied,
            dropped=dict(counts.dropped),
            dead_lettered=counts.dead_lettered,
            in_flight=state.in_flight,
            conservation_gap=state.gap,
            dead_letters=state.dead_letters,
            open_batches=state.open_batches,
        )


def _stream(state: PipelineState, stream: Stream) -> StreamStatus:
    measured = state.streams[stream]
    return StreamStatus(
        stream=stream.value,
        group=GROUPS[stream],
        length=measured.length,
        pending=measured.pending,
        lag=measured.lag,
        oldest_pending_age_s=measured.oldest_pending_age_s,
    )


class ProcessStatus(Model):
    """One process, or one pod."""

    name: str
    state: str
    detail: str
    """Why, for people."""
    restarts: int | None
    """Null where nobody counts them."""


class ServiceStatus(Model):
    """One service and its processes."""

    service: str
    wanted: int
    """Processes there should be."""
    ready: int
    """Processes that can serve."""
    scalable: bool
    processes: list[ProcessStatus]


class Page(Model, extra="forbid"):
    """Which part of a list is asked for."""

    limit: Annotated[int, Field(ge=1, le=500)] = 100
    """Most items in the answer."""


class LetterPage(Page):
    """Which part of the dead letters is asked for."""

    after: EntryId | None = None
    """Only those behind this one."""


class Replicas(Model, extra="forbid"):
    """A size."""

    replicas: Annotated[int, Field(ge=0, le=1000)]
    """Processes there should be."""


class DeadLetterSummary(Model):
    """One dead letter."""

    id: str
    at_ms: int
    """Server time it was moved aside, Unix milliseconds."""
    stream: str
    """Where it came from."""
    kind: str
    """`task`, `trajectory`, `batch` or `marker`."""
    trajectories: int
    """Trajectories it stands for."""
    error: str
    deliveries: int
    trajectory_id: str
    batch_id: str

    @classmethod
    def of(cls, letter: DeadLetter) -> "DeadLetterSummary":
        """Leave the payload out."""
        return cls(**_summary(letter))


class DeadLetterDetail(DeadLetterSummary):
    """One dead letter with its fields."""

    payload_bytes: int
    fields: dict[str, str]
    """The entry's fields but its payload, as text."""

    @classmethod
    def of(cls, letter: DeadLetter) -> "DeadLetterDetail":
        """Keep everything but the payload."""
        fields = {name: value.decode(errors="replace") for name, value in letter.fields.items() if name != "p"}
        return cls(**_summary(letter), payload_bytes=len(letter.payload), fields=fields)


def _summary(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.entry_id,
        "at_ms": letter.at_ms,
        "stream": letter.stream.value,
        "kind": letter.kind,
        "trajectories": letter.weight,
        "error": letter.error,
        "deliveries": letter.deliveries,
        "trajectory_id": letter.trajectory_id,
        "batch_id": letter.batch_id,
    }


class DeadLetterPage(Model):
    """Dead letters, the oldest first."""

    items: list[DeadLetterSummary]
    next: str | None
    """Give it as `after` for the next page; null on the last one."""


class Settled(Model):
    """What became of a dead letter."""

    id: str
    outcome: Literal["replayed", "purged"]


class Lines(Model):
    """Lines of a run's files, the oldest first."""

    items: list[Line]
