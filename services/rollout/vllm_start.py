"""How vLLM is started: its environment, its arguments, the tokens that end a response.

Nothing here touches the network when `model.path` is a folder.
"""

import dataclasses
import difflib
import os
import shutil
import signal
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hiper.config import RunConfig
from hiper.config.engines import AdapterSettings
from hiper.config.sections import ModelSettings
from hiper.errors import ConfigError
from services.rollout.tokenizer import load_tokenizer

if TYPE_CHECKING:
    from vllm.lora.request import LoRARequest
    from vllm.v1.engine.async_llm import AsyncLLM

__all__ = ["OWNER_VARIABLE", "adapter_request", "engine_arguments", "launch", "prepare_environment", "stop_token_ids"]

OWNER_VARIABLE = "ROLLOUT_ENGINE_OWNER_PID"
"""Environment variable by which vLLM's workers know the process they serve."""
_WORKER_EXTENSION = "services.rollout.vllm_worker.WeightsExtension"


def prepare_environment(config: RunConfig) -> None:
    """Set what vLLM and its libraries read when they are imported; their processes inherit it. Values given win."""
    wanted = {
        "VLLM_LOGGING_LEVEL": "WARNING",
        "VLLM_LOGGING_STREAM": "ext://sys.stderr",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_DO_NOT_TRACK": "1",
        # This process has threads (HTTP, gRPC): a fork could inherit a held lock.
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
        "VLLM_CPU_KVCACHE_SPACE": str(config.rollout.cpu_kv_cache_gb),
        # Left to itself every engine of a machine binds its threads to the same cores.
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    }
    if config.rollout.cpu_threads:
        wanted["OMP_NUM_THREADS"] = str(config.rollout.cpu_threads)
    if Path(config.model.path).is_dir():
        wanted |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    if not any(map(shutil.which, (os.environ.get("CXX", "g++"), os.environ.get("CC", "gcc")))):
        # vLLM compiles small functions even in eager mode, and dies where there is no compiler, as in our CPU image.
        wanted["TORCHDYNAMO_DISABLE"] = "1"
    for name, value in wanted.items():
        os.environ.setdefault(name, value)
    os.environ[OWNER_VARIABLE] = str(os.getpid())


def launch(config: RunConfig) -> "AsyncLLM":
    """Start vLLM's processes and load the base model. Blocks; raises whatever vLLM raises.

    Call it in a thread of its own: SIGINT is blocked in it for good, so that the processes begun here inherit that. A
    Ctrl-C at a terminal goes to all of them, and episodes could not be ended on an engine that obeyed it.
    """
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.platforms import current_platform
    from vllm.v1.engine.async_llm import AsyncLLM

    resource_tracker.ensure_running()  # Python's own child, whose start would unblock it
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    known = [field.name for field in dataclasses.fields(AsyncEngineArgs)]
    for name in config.rollout.vllm.engine_args:
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1)
            raise ConfigError(
                f"rollout.vllm.engine_args: this vLLM has no argument '{name}'",
                f"did you mean '{nearest[0]}'?" if nearest else "see `vllm serve --help`",
            )
    return AsyncLLM.from_engine_args(AsyncEngineArgs(**engine_arguments(config, on_cpu=current_platform.is_cpu())))


def engine_arguments(config: RunConfig, *, on_cpu: bool) -> dict[str, Any]:
    """The arguments of `AsyncEngineArgs`. Those a user gives by vLLM's own names come last and win."""
    rollout = config.rollout
    limit = rollout.sampling.max_prompt_tokens + rollout.sampling.max_response_tokens
    arguments = {
        "model": config.model.path,
        "revision": config.model.revision,
        "skip_tokenizer_init": True,
        "generation_config": "vllm",
        "dtype": rollout.dtype,
        "kv_cache_dtype": rollout.vllm.kv_cache_dtype,
        "seed": config.seed,
        "max_model_len": limit,
        "max_num_batched_tokens": max(limit, rollout.vllm.max_batched_tokens),
        # A prompt cut in two makes vLLM rewind the request's own random generator, which CPU generators cannot do.
        "enable_chunked_prefill": not on_cpu,
        "max_num_seqs": rollout.concurrent_episodes,
        "tensor_parallel_size": rollout.tensor_parallel,
        "pipeline_parallel_size": rollout.vllm.pipeline_parallel,
        "gpu_memory_utilization": rollout.gpu_memory_utilization,
        "enforce_eager": rollout.enforce_eager,
        "enable_prefix_caching": True,
        "logprobs_mode": "processed_logprobs",
        "async_scheduling": False,
        "worker_extension_cls": _WORKER_EXTENSION,
        "use_tqdm_on_load": False,
        "disable_log_stats": True,
        "enable_log_requests": False,
    }
    if rollout.vllm.adapter is not None:
        arguments |= {"enable_lora": True, "max_lora_rank": rollout.vllm.adapter.max_rank}
    return arguments | rollout.vllm.engine_args


def adapter_request(adapter: AdapterSettings | None) -> "LoRARequest | None":
    """What every request says of the adapter it uses."""
    from vllm.lora.request import LoRARequest

    return None if adapter is None else LoRARequest("adapter", 1, str(adapter.path))


def stop_token_ids(model: ModelSettings) -> list[int]:
    """Return the ids that end a response: the tokenizer's end-of-sequence token and those the model names."""
    from transformers import GenerationConfig

    ids = {load_tokenizer(model).eos_token_id}
    try:
        named = GenerationConfig.from_pretrained(model.path, revision=model.revision).eos_token_id
    except OSError:  # the model has no such file
        named = None
    ids |= set(named) if isinstance(named, list) else {named}
    return sorted(id_ for id_ in ids if id_ is not None)
