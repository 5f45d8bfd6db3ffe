"""`hiper.hae.v1.HaeService`: advantages of trajectories that somebody else holds, by the code of the stream path.

One computation at a time, so that callers cannot starve the stream; a few may wait, more are refused. A caller that
gives up leaves the queue. Input is refused as a whole, naming trajectory and turn, before anything is computed.
"""

import asyncio
import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import grpc
import grpc.aio
from google.protobuf.json_format import MessageToDict
from pydantic import ValidationError

from hiper._proto.common.v1.types_pb2 import LevelValues
from hiper._proto.hae.v1 import hae_service_pb2 as pb
from hiper._proto.hae.v1 import hae_service_pb2_grpc as stubs
from hiper._proto.trajectory.v1.trajectory_pb2 import Trajectory, Turn
from hiper.config.sections import HaeSettings
from hiper.contradictions import contradictions
from hiper.errors import ConfigError, DataError, HiperError
from hiper.metrics import counter
from hiper.vocabulary import Level
from services.hae.estimate import estimate
from services.hae.estimators import Estimator, make_estimator
from services.hae.values import CriticReading

__all__ = ["MAX_REQUEST_BYTES", "MAX_TURNS", "MAX_WAITING", "SERVICE", "HaeServicer"]

SERVICE = pb.DESCRIPTOR.services_by_name["HaeService"].full_name
MAX_REQUEST_BYTES = 12 * 2**20
MAX_TURNS = 32_768
"""With `MAX_REQUEST_BYTES` this keeps an answer, up to 70 bytes a turn longer, below the limit of a message."""
MAX_WAITING = 16
"""Calls in work or waiting; more are refused with RESOURCE_EXHAUSTED."""


class HaeServicer(stubs.HaeServiceServicer):
    """Serves `settings`' estimator, or the one a call brings along."""

    def __init__(self, settings: HaeSettings) -> None:
        self._settings = settings
        self._thread = ThreadPoolExecutor(1, "advantages")
        self._calls = 0

    def close(self) -> None:
        """Drop the calls that wait."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def ComputeAdvantages(  # noqa: N802 - gRPC names it
        self, request: pb.ComputeAdvantagesRequest, context: grpc.aio.ServicerContext
    ) -> pb.ComputeAdvantagesResponse:
        """Compute the advantages of one batch."""
        code, refusal = self._full(request)
        if not refusal:
            self._calls += 1
            try:
                work = partial(_compute, request, self._settings)
                answer = await asyncio.get_running_loop().run_in_executor(self._thread, work)
            except HiperError as error:
                code, refusal = grpc.StatusCode.INVALID_ARGUMENT, str(error)
            else:
                counter("hae_calls_total").labels(code="OK").inc()
                return answer
            finally:
                self._calls -= 1
        counter("hae_calls_total").labels(code=code.name).inc()
        await context.abort(code, refusal)
        raise AssertionError("`abort` raises")

    def _full(self, request: pb.ComputeAdvantagesRequest) -> tuple[grpc.StatusCode, str]:
        """Which bound the call exceeds, in words; empty if none."""
        exhausted = grpc.StatusCode.RESOURCE_EXHAUSTED
        turns = sum(len(one.turns) for one in request.trajectories)
        if turns > MAX_TURNS:
            return exhausted, f"{turns:,} turns in one call; at most {MAX_TURNS:,} are accepted"
        size = request.ByteSize()
        if size > MAX_REQUEST_BYTES:
            return exhausted, f"{size:,} bytes in one call; at most {MAX_REQUEST_BYTES:,} are accepted"
        if self._calls >= MAX_WAITING:
            return exhausted, f"{self._calls} calls are waiting already; try again later"
        return grpc.StatusCode.OK, ""


def _compute(request: pb.ComputeAdvantagesRequest, settings: HaeSettings) -> pb.ComputeAdvantagesResponse:
    trajectories = request.trajectories
    estimator = _estimator(request, settings)
    _check(trajectories)
    if trajectories:
        versions = [one.critic_version for one in trajectories]
        estimate(trajectories, _reading(trajectories), estimator)
        for one, version in zip(trajectories, versions, strict=True):
            one.critic_version = version  # each keeps the one its values came from
    return pb.ComputeAdvantagesResponse(trajectories=trajectories)


def _estimator(request: pb.ComputeAdvantagesRequest, settings: HaeSettings) -> Estimator:
    asked: dict[str, object] = {}
    if request.HasField("estimator"):
        asked["estimator"] = MessageToDict(request.estimator)
    if request.HasField("whiten"):
        asked["whiten"] = request.whiten
    try:
        return make_estimator(HaeSettings.model_validate({**settings.model_dump(), **asked}))
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}", "see `hiper config schema`") from error


def _check(trajectories: Iterable[Trajectory]) -> None:
    """Raise `DataError` for the first fault, naming the trajectory."""
    seen: set[str] = set()
    for position, trajectory in enumerate(trajectories):
        name = trajectory.task.trajectory_id
        if not name:
            raise DataError(f"trajectory {position} of the call has no task.trajectory_id")
        fault = "it is in the call twice" if name in seen else next(_faults(trajectory), "")
        if fault:
            raise DataError(f"trajectory {name}: {fault}")
        seen.add(name)


def _faults(trajectory: Trajectory) -> Iterator[str]:
    if trajectory.outcome.abandoned:
        yield f"abandoned ({trajectory.outcome.abandoned}): it has no advantages"
    yield from contradictions(trajectory)
    has_beyond = trajectory.HasField("truncation_value")
    if has_beyond and not trajectory.next_prompt_ids:
        yield "a truncation_value, but no next_prompt_ids it is the value of"
    if has_beyond and not math.isfinite(trajectory.truncation_value):
        yield f"truncation_value is {trajectory.truncation_value}"
    if trajectory.next_prompt_ids and not has_beyond and trajectory.turns[-1].HasField("values"):
        yield "next_prompt_ids and values, but no truncation_value"
    for turn in trajectory.turns:
        for fault in _of_turn(turn):
            yield f"turn {turn.index}: {fault}"


def _of_turn(turn: Turn) -> Iterator[str]:
    if not turn.HasField("reward"):
        yield "it has no reward"
    elif not math.isfinite(turn.reward):
        yield f"reward is {turn.reward}"
    for level in Level:
        if turn.values.HasField(level.value) and not math.isfinite(getattr(turn.values, level)):
            yield f"values.{level} is {getattr(turn.values, level)}"


def _reading(trajectories: Sequence[Trajectory]) -> CriticReading:
    """The values the trajectories bring along, in the order of `rows.value_queries`."""
    values = [turn.values for one in trajectories for turn in one.turns]
    beyond = [_beyond(one) for one in trajectories if one.next_prompt_ids]
    return CriticReading([*values, *beyond], version=0)


def _beyond(trajectory: Trajectory) -> LevelValues:
    known = trajectory.HasField("truncation_value")
    return LevelValues(switch=trajectory.truncation_value) if known else LevelValues()
