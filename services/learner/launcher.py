"""Several processes of one learner on this machine, under torch's elastic agent: what `torchrun --standalone` starts.

It ends with the exit code of the rank that failed first, where torchrun always ends with 1. Asked to stop, it asks
every rank and waits as long as whoever asked waits for it, where torchrun kills after 30 s; asked again, it ends at
once. Ranks lead sessions of their own, out of reach of a signal to its group: the command should be tied to it.
"""

import os
import uuid
from collections.abc import Sequence

import torch
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from hiper.errors import ExitCode

__all__ = ["launch"]

_DAY_S = 86_400


def launch(command: Sequence[str], processes: int) -> int:
    """Run `command` once per rank, with the environment of its rank; return the exit code.

    0 if all ranks ended well, or after SIGTERM or SIGINT.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, torch.get_num_threads() // processes)))
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(_DAY_S))
    program, *arguments = command
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,  # a restart is the supervisor's, who counts them
        logs_specs=DefaultLogsSpecs(os.devnull),
    )
    try:
        elastic_launch(config, program)(*arguments)
    except ChildFailedError as error:
        _, first = error.get_first_failure()
        return first.exitcode if first.exitcode > 0 else int(ExitCode.FAILURE)
    except SignalException:
        pass
    return int(ExitCode.OK)
