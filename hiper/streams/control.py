"""What people want of a run, and what the learner made of it: one small hash in the broker.

Control writes wishes, the learner reads them between iterations and says what is in force; the learner alone decides
(it is the single writer of run state). `paused` is a level. `stop` and `evaluate` are numbers that a request raises and
the learner copies when it has done what was asked: a repeated request, or one read twice over a crash, does nothing
more. Wishes for processes (`hiper up` follows them) carry the server's time, so that a later run of the supervisor can
tell old ones. The hash has a fixed set of fields, so it never grows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from hiper.streams.broker import Broker

__all__ = ["ControlRecord", "RunControl", "RunPhase", "ScaleWish"]

_SCALE = "scale:"


class RunPhase(StrEnum):
    """What a learner makes of the requests."""

    STARTING = "starting"
    """No learner has come to its first iteration."""
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class ScaleWish:
    """How many processes of a service are wanted, and since when."""

    processes: int
    at_ms: int
    """Server time, Unix milliseconds."""


@dataclass(frozen=True, slots=True)
class ControlRecord:
    """Wishes and their state."""

    paused: bool = False
    """Wished: issue and apply nothing until resumed."""
    stop: int = 0
    """Number of the last request to end the run early."""
    stop_done: int = 0
    evaluate: int = 0
    """Number of the last request for an evaluation."""
    evaluate_done: int = 0
    phase: RunPhase = RunPhase.STARTING
    """In force, as the learner said last."""
    policy_version: int = 0
    """Of the learner, when it said so."""
    scale: Mapping[str, ScaleWish] = field(default_factory=dict)
    """By service."""

    @property
    def stop_asked(self) -> bool:
        """A request to stop is open."""
        return self.stop > self.stop_done

    @property
    def evaluation_asked(self) -> bool:
        """A request to evaluate is open."""
        return self.evaluate > self.evaluate_done

    @classmethod
    def parse(cls, fields: Mapping[bytes, bytes]) -> "ControlRecord":
        """Read the hash; what is missing has its default."""
        text = {name.decode(): value.decode() for name, value in fields.items()}
        numbers = {name: int(text.get(name, 0)) for name in _NUMBERS}
        phase = RunPhase(text.get("phase", RunPhase.STARTING))
        scale = {name.removeprefix(_SCALE): _wish(value) for name, value in text.items() if name.startswith(_SCALE)}
        return cls(paused=text.get("paused") == "1", phase=phase, scale=scale, **numbers)


_NUMBERS = ("stop", "stop_done", "evaluate", "evaluate_done", "policy_version")


def _wish(text: str) -> ScaleWish:
    processes, _, at_ms = text.partition("@")
    return ScaleWish(int(processes), int(at_ms))


class RunControl:
    """The control record of the run `broker` has joined. Every call is safe to repeat."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._key = broker.keys.control

    async def read(self) -> ControlRecord:
        """The record now."""
        return ControlRecord.parse(await self._broker.command("HGETALL", self._key))

    async def pause(self, paused: bool) -> None:
        """Wish that the run pauses, or goes on."""
        await self._broker.command("HSET", self._key, "paused", int(paused))

    async def ask_stop(self) -> None:
        """Wish that the run ends at its next version, as if that were its last."""
        await self._broker.command("HINCRBY", self._key, "stop", 1)

    async def ask_evaluation(self) -> None:
        """Wish for an evaluation of the next version the learner comes by."""
        await self._broker.command("HINCRBY", self._key, "evaluate", 1)

    async def wish_scale(self, service: str, processes: int) -> None:
        """Wish for a number of processes; `service` is one of few, checked by the caller."""
        wish = f"{processes}@{await self._broker.server_time_ms()}"
        await self._broker.command("HSET", self._key, f"{_SCALE}{service}", wish)

    async def say(self, phase: RunPhase, policy_version: int) -> None:
        """Learner only: what is in force."""
        await self._broker.command("HSET", self._key, "phase", phase, "policy_version", policy_version)

    async def stop_taken(self, record: ControlRecord) -> None:
        """Learner only: the request in `record` has been carried out."""
        await self._broker.command("HSET", self._key, "stop_done", record.stop)

    async def evaluation_taken(self, record: ControlRecord) -> None:
        """Learner only: the request in `record` has been carried out."""
        await self._broker.command("HSET", self._key, "evaluate_done", record.evaluate)
