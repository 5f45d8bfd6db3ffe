"""The engine on vLLM's `AsyncLLM`: the same code on a CPU and on GPUs.

An update of the weights in flight: load them beside those in force, pause with every request kept, put them in force,
label, resume. The pause empties the prefix cache and makes running requests compute their keys and values again, so
nothing made by old weights is used by new ones. An update that fails in the pause leaves generation paused until one
succeeds: half-loaded weights never produce a token.

vLLM is imported by `start` and not before, because it reads its environment when it is imported.
"""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hiper.config import RunConfig
from hiper.errors import HiperError
from hiper.metrics import histogram
from hiper.vocabulary import PolicyVersion, StopReason
from services.rollout.checkpoints import Shapes, check_fits, tensor_shapes
from services.rollout.engine import (
    NOT_LOADED,
    EngineDead,
    Generation,
    RequestRefused,
    Sampling,
    labelled_version,
)
from services.rollout.vllm_start import adapter_request, launch, prepare_environment, stop_token_ids
from services.rollout.vllm_update import InForce, load_in_the_pause, make_ready

if TYPE_CHECKING:
    from vllm.lora.request import LoRARequest
    from vllm.outputs import RequestOutput
    from vllm.v1.engine.async_llm import AsyncLLM

__all__ = ["VllmEngine"]

_PROBE_S = 60.0
"""How long a working engine may take for one token; only asked after a response did not come."""
_CLOSE_S = 10.0
"""Grace of vLLM's processes at the end, before they are killed."""


class VllmEngine:
    """See `services.rollout.engine.Engine`. Call `start` once before anything else."""

    def __init__(self, config: RunConfig) -> None:
        self._config = config
        self._timeout_s = config.rollout.generate_timeout_s
        self._launch: asyncio.Future[AsyncLLM] | None = None
        self._model: AsyncLLM | None = None
        self._version = NOT_LOADED
        self.last_pause_s = 0.0
        """How long the last update kept the engine from generating."""
        self._shapes: Shapes = {}
        self._stop_token_ids: list[int] = []
        self._adapter: LoRARequest | None = None
        self._open = asyncio.Event()
        """Cleared while an update has begun and not succeeded."""
        self._updating = asyncio.Lock()
        self._probes = itertools.count()

    async def start(self) -> None:
        """Start vLLM on the base model and answer one warm-up request. Raises `EngineDead` with vLLM's own reason.

        Takes half a minute on a CPU and minutes for a large model; the event loop goes on meanwhile.
        """
        prepare_environment(self._config)
        model = self._config.model
        try:
            self._stop_token_ids = await asyncio.to_thread(stop_token_ids, model)
            self._launch = asyncio.ensure_future(asyncio.to_thread(launch, self._config))
            self._model = await asyncio.shield(self._launch)
            self._adapter = adapter_request(self._config.rollout.vllm.adapter)
        except HiperError:
            raise
        except Exception as error:  # vLLM fails to start with whatever its parts raise
            raise EngineDead(
                f"vLLM did not start on {model.path}: {_first_line(error)}",
                "see the lines above; check model.path and the limits in rollout.sampling",
            ) from error
        self._shapes = tensor_shapes(Path(model.path))
        self._open.set()
        await self._probe(timeout_s=self._timeout_s)

    @property
    def version(self) -> PolicyVersion:
        """See `Engine.version`."""
        return self._version

    async def generate(self, prompt_ids: list[int], sampling: Sampling, request_id: str) -> Generation:
        """See `Engine.generate`. Raises `RequestRefused` after `rollout.generate_timeout_s`."""
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._open.wait()
                return await self._generate(prompt_ids, sampling, request_id)
        except TimeoutError as error:
            if self._open.is_set():
                await self._probe(timeout_s=_PROBE_S)
            raise RequestRefused(
                f"no response to {request_id} within {self._timeout_s:g} s (rollout.generate_timeout_s)",
                "lower rollout.concurrent_episodes or raise the bound",
            ) from error

    async def load_weights(self, directory: Path, version: PolicyVersion) -> None:
        """See `Engine.load_weights`. Raises `IntegrityError` for a checkpoint it cannot use; then nothing has changed.

        Raises `RequestRefused` if the update failed half-way; then nothing is generated until one succeeds.
        """
        self._shapes = await asyncio.to_thread(check_fits, directory, self._shapes)
        async with self._updating, _sorted_errors(f"loading weights version {version}"):
            async with asyncio.timeout(self._timeout_s):
                in_force = await self._make_ready(directory)
            self._open.clear()
            started = time.monotonic()
            async with asyncio.timeout(self._timeout_s):
                await self._llm.pause_generation(mode="keep")
                await self._workers(in_force.method, *in_force.args)
                await self._llm.update_weight_version(str(version))
                self._version = version
                await self._llm.resume_generation()
            self._open.set()
            self.last_pause_s = time.monotonic() - started
            histogram("weights_load_duration_seconds").labels(phase="pause").observe(self.last_pause_s)

    async def check(self) -> None:
        """See `Engine.check`. Cheap: notices that a process of the engine has ended."""
        async with _sorted_errors("the health check"):
            await self._llm.check_health()

    async def ask_bare(self, prompt_ids: list[int], sampling: Sampling, request_id: str) -> None:
        """For benchmarks: let vLLM answer, and make nothing of it."""
        async for _ in self._ask(prompt_ids, sampling, request_id):
            pass

    async def forget_prefixes(self) -> None:
        """For benchmarks: empty the prefix cache."""
        if not await self._llm.reset_prefix_cache():
            raise RequestRefused("vLLM did not empty its prefix cache: requests are running")

    async def close(self) -> None:
        """See `Engine.close`."""
        if self._launch is not None and self._model is None:  # cancelled while vLLM was starting
            with contextlib.suppress(Exception):  # it did not start: `start` has said why
                self._model = await self._launch
        model, self._model, self._launch = self._model, None, None
        if model is None:
            return
        if model.output_handler is not None:  # it would report the end of the engine as a crash
            model.output_handler.cancel()
            await asyncio.wait([model.output_handler])
        await asyncio.to_thread(model.shutdown, timeout=_CLOSE_S)
        # The finaliser calls it once more, at the end of the interpreter, when it can only print an error.
        model.shutdown = _do_nothing

    @property
    def _llm(self) -> "AsyncLLM":
        if self._model is None:
            raise EngineDead("vLLM does not run")
        return self._model

    async def _make_ready(self, directory: Path) -> InForce:
        if not self._config.rollout.vllm.second_weights:
            return load_in_the_pause(directory)
        return await make_ready(self._workers, directory)

    async def _workers(self, method: str, *args: str) -> list[object]:
        return list(await self._llm.collective_rpc(method, args=args))

    async def _probe(self, timeout_s: float) -> None:
        """Generate one token. Raises `EngineDead` if that takes longer than `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._generate([0], Sampling(0.0, 1.0, 1, 0), f"probe-{next(self._probes)}")
        except TimeoutError as error:
            raise EngineDead(f"vLLM did not generate one token within {timeout_s:g} s") from error

    async def _generate(self, prompt_ids: list[int], sampling: Sampling, request_id: str) -> Generation:
        started_on = self._version
        output: Any = None
        cached = 0
        async with _sorted_errors(f"request {request_id}"):
            async for answer in self._ask(prompt_ids, sampling, request_id):
                output, cached = answer.outputs[0], answer.num_cached_tokens or 0
        return self._record(request_id, output, started_on, cached)

    def _ask(self, prompt_ids: list[int], sampling: Sampling, request_id: str) -> "AsyncIterator[RequestOutput]":
        from vllm import SamplingParams
        from vllm.inputs import tokens_input
        from vllm.sampling_params import RequestOutputKind

        parameters = SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=sampling.max_tokens,
            seed=sampling.seed,
            stop_token_ids=self._stop_token_ids,
            logprobs=0,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        # The salt keys the prefix cache by version: no key or value of older weights is ever taken for a new one.
        prompt = tokens_input(prompt_ids, cache_salt=f"version {self._version}")
        answers: AsyncIterator[RequestOutput] = self._llm.generate(
            prompt, parameters, request_id, lora_request=self._adapter
        )
        return answers

    def _record(self, request_id: str, output: Any, started_on: PolicyVersion, cached: int) -> Generation:
        if output is None or output.finish_reason not in tuple(StopReason) or output.logprobs is None:
            reason = None if output is None else output.finish_reason
            raise RequestRefused(f"request {request_id} ended without a response ({reason})")
        ids = tuple(output.token_ids)
        logprobs = tuple(float(entry[token].logprob) for token, entry in zip(ids, output.logprobs, strict=True))
        made_by = [labelled_version(span.version) for span in output.weight_versions or ()] or [
            started_on,
            self._version,
        ]
        return Generation(ids, logprobs, StopReason(output.finish_reason), made_by[0], made_by[-1], cached)


@contextlib.asynccontextmanager
async def _sorted_errors(what: str) -> AsyncIterator[None]:
    """Sort vLLM's errors into those of one request and those of the engine."""
    from vllm.v1.engine.exceptions import EngineDeadError

    try:
        yield
    except EngineDeadError as error:
        raise EngineDead(f"vLLM died during {what}", "its own lines above say why") from error
    except (HiperError, TimeoutError):
        raise
    except Exception as error:  # vLLM documents no closed set of errors; cancellation passes
        raise RequestRefused(f"vLLM refused {what}: {_first_line(error.__cause__ or error)}") from error


def _do_nothing() -> None:
    pass


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
