"""A real Prometheus beside a real run of `hiper up`."""

import json
import math
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from started_runs import ROOT, process, until

from hiper.ports import PortBook


class Prometheus:
    """Asks one server."""

    def __init__(self, port: int) -> None:
        self._base = f"http://127.0.0.1:{port}"

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self._base}/-/ready", timeout=5) as answer:
                return answer.status == 200
        except urllib.error.URLError:
            return False

    def active_targets(self) -> list[dict]:
        return self._get("/api/v1/targets", state="active")["activeTargets"]

    def figures(self, expr: str, start: float, end: float) -> list[float]:
        """Every finite value of `expr` between two Unix times."""
        answer = self._get("/api/v1/query_range", query=expr, start=str(start), end=str(end), step="1")
        values = (float(value) for series in answer["result"] for _, value in series["values"])
        return [value for value in values if math.isfinite(value)]

    def rules(self) -> list[dict]:
        return [rule for group in self._get("/api/v1/rules")["groups"] for rule in group["rules"]]

    def _get(self, path: str, **query: str) -> dict:
        url = f"{self._base}{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.load(answer)["data"]


@contextmanager
def prometheus_of(run_dir: Path, binary: str) -> Iterator[Prometheus]:
    """A Prometheus with the configuration `hiper metrics prometheus` prints, and our rules."""
    home = run_dir.parent
    words = ["--run-dir", str(run_dir), "--rules", str(ROOT / "deploy" / "prometheus" / "alerts"), "--interval-s", "1"]
    command = [sys.executable, "-m", "hiper", "metrics", "prometheus", *words]
    config = home / "prometheus.yml"
    config.write_bytes(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)
    port = PortBook().port("prometheus")
    flags = [
        f"--config.file={config}",
        f"--storage.tsdb.path={home / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with process([binary, *flags], home / "prometheus.log"):
        server = Prometheus(port)
        until(server.ready, "readiness of Prometheus")
        yield server
