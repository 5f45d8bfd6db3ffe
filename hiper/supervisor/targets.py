"""`targets.json` of a run directory: what a local Prometheus scrapes, in the form its `file_sd_configs` read.

Written when the processes are planned, emptied when they have ended: a finished run is no outage.
"""

from collections.abc import Iterable
from pathlib import Path

from hiper.durable import write_json
from hiper.supervisor.plan import ProcessPlan

__all__ = ["TARGETS_NAME", "write_targets"]

TARGETS_NAME = "targets.json"


def write_targets(run_dir: Path, run: str, plans: Iterable[ProcessPlan]) -> None:
    """Write the metrics address of every process that has one, with its run, service and name as labels."""
    write_json(
        run_dir / TARGETS_NAME,
        [
            {"targets": [plan.http], "labels": {"run": run, "component": plan.service, "process": plan.name}}
            for plan in plans
            if plan.http is not None
        ],
    )
