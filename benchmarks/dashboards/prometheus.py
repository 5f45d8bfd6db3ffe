"""A Prometheus server beside a run of this machine, and questions to it. Standard library only.

The server is the real program (`prometheus` on PATH) with the configuration `hiper metrics prometheus` prints.
"""

import json
import math
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hiper.ports import PortBook

__all__ = ["RULES", "Prometheus", "Series", "Span", "prometheus_of"]

RULES = Path(__file__).resolve().parents[2] / "deploy/prometheus/alerts"
_READY_S, _ANSWER_S = 60.0, 30.0


@dataclass(frozen=True, slots=True)
class Span:
    """Between two Unix times, in seconds."""

    start: float
    end: float
    step: float = 1.0


@dataclass(frozen=True, slots=True)
class Series:
    """One time series: Unix times and values, NaN and infinities left out."""

    labels: Mapping[str, str]
    times: Sequence[float]
    values: Sequence[float]


class Prometheus:
    """Asks the server at `url`. A question it refuses raises `urllib.error.HTTPError`."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    def ready(self) -> bool:
        """Whether it answers questions."""
        try:
            with urllib.request.urlopen(f"{self._url}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except urllib.error.URLError:
            return False

    def active_targets(self) -> list[dict[str, Any]]:
        """What it scrapes, and whether it can."""
        targets: list[dict[str, Any]] = self._get("/api/v1/targets", state="active")["activeTargets"]
        return targets

    def series(self, expr: str, span: Span) -> list[Series]:
        """Answer `expr` over `span`; series without any finite value are left out."""
        where = {"start": str(span.start), "end": str(span.end), "step": str(span.step)}
        found = []
        for answer in self._get("/api/v1/query_range", query=expr, **where)["result"]:
            points = [(at, float(value)) for at, value in answer["values"] if math.isfinite(float(value))]
            if points:
                times, values = zip(*points, strict=True)
                found.append(Series(answer["metric"], times, values))
        return found

    def traced(self, metric: str, span: Span) -> set[str]:
        """Ids of the traces that exemplars of a metric lead to."""
        found = self._get("/api/v1/query_exemplars", query=metric, start=str(span.start), end=str(span.end))
        return {exemplar["labels"]["trace_id"] for series in found for exemplar in series["exemplars"]}

    def rules(self) -> list[dict[str, Any]]:
        """Every alert with its state."""
        return [rule for group in self._get("/api/v1/rules")["groups"] for rule in group["rules"]]

    def _get(self, path: str, **query: str) -> Any:
        url = f"{self._url}{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=_ANSWER_S) as answer:
            return json.load(answer)["data"]


@contextmanager
def prometheus_of(run_dir: Path, binary: str, interval_s: int = 1) -> Iterator[Prometheus]:
    """A server that scrapes the run in `run_dir`, with our alerts; its files lie beside that folder.

    Raises `TimeoutError` if it is not ready within a minute.
    """
    home = run_dir.parent
    words = ["--run-dir", str(run_dir), "--rules", str(RULES), "--interval-s", str(interval_s)]
    command = [sys.executable, "-m", "hiper", "metrics", "prometheus", *words]
    config = home / "prometheus.yml"
    config.write_bytes(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)
    port = PortBook().port("prometheus")
    flags = [
        f"--config.file={config}",
        f"--storage.tsdb.path={home / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--enable-feature=exemplar-storage",
    ]
    with (home / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([binary, *flags], stdout=log, stderr=subprocess.STDOUT, cwd=home)
        try:
            server = Prometheus(f"http://127.0.0.1:{port}")
            give_up = time.monotonic() + _READY_S
            while not server.ready():
                if time.monotonic() > give_up or process.poll() is not None:
                    raise TimeoutError(f"Prometheus is not ready; see {log.name}")
                time.sleep(0.1)
            yield server
        finally:
            process.terminate()
            process.wait(60)
