"""Draw docs/pictures/dashboards from a demo that a real Prometheus scrapes.

    python scripts/draw_dashboards.py [--run-dir FOLDER]

Runs `hiper up --config demo` (a few minutes on two cores) with a control service and a reward term of one's own, asks
Prometheus everything Grafana would ask, and draws each page on its own grid. Fails, naming them, if an expression of
any dashboard has no answer or an alert fires. Needs `prometheus` on PATH. Figures differ from run to run, so this is
for a person to run and to look at; tests/integration/observability holds the expressions.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from PIL import Image

from benchmarks.dashboards.answers import PAGES, Page
from benchmarks.dashboards.picture import draw_page
from benchmarks.dashboards.prometheus import Prometheus, Span, prometheus_of
from benchmarks.drawing import save
from hiper.supervisor.targets import TARGETS_NAME

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs/pictures/dashboards"
SCRAPE_S = 5
COLOURS = 64
"""Of a picture: lines, their shades and the edges of letters."""
TERM = "reward.terms.repetition"
RUN = ("--no-ui", "--config", "demo", "--scale", "control=1", "--set", "learner.max_staleness=1")
FOOT = (
    "Drawn by scripts/draw_dashboards.py from the queries of this page, answered by a Prometheus that scraped one run "
    "of `hiper up --config demo` on two CPU cores. Grafana draws the same file; fonts and colours are not Grafana's."
)


def started(run_dir: Path) -> subprocess.Popen[bytes]:
    """Start the run; return once its targets are known."""
    weightless = ("--set", f"{TERM}.path=reward_term:repetition", "--set", f"{TERM}.weight=0")
    command = [sys.executable, "-m", "hiper", "up", *RUN, *weightless, "--run-dir", str(run_dir)]
    path = os.pathsep.join(filter(None, (str(ROOT / "examples"), os.environ.get("PYTHONPATH"))))
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path})
    while not (run_dir / TARGETS_NAME).exists():
        if process.poll() is not None:
            sys.exit(f"the run ended with {process.returncode}")
        time.sleep(0.1)
    return process


def draw(prometheus: Prometheus, span: Span) -> list[str]:
    """Draw every page; return what was wrong."""
    wrong = [f"alert {rule['name']} fires" for rule in prometheus.rules() if rule["state"] == "firing"]
    FOLDER.mkdir(parents=True, exist_ok=True)
    for uid, page in PAGES.items():
        answered = Page(page, prometheus, span, SCRAPE_S).answered()
        wrong += [f"{where}: no data" for where in answered.empty]
        path = FOLDER / f"{uid}.png"
        save(draw_page(answered, FOOT), path)
        with Image.open(path) as image:
            image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    return wrong


def main() -> None:
    """Run, ask, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--run-dir", type=Path, default=ROOT / "runs/dashboards/run", help="folder of the run")
    run_dir = parser.parse_args().run_dir.resolve()
    binary = shutil.which("prometheus")
    if binary is None:
        sys.exit("prometheus is not on PATH: apt-get install prometheus")
    run_dir.parent.mkdir(parents=True, exist_ok=True)
    begun = time.time()
    process = started(run_dir)
    try:
        with prometheus_of(run_dir, binary, SCRAPE_S) as prometheus:
            if process.wait():
                sys.exit(f"the run ended with {process.returncode}")
            span = Span(begun, time.time(), SCRAPE_S)
            learned = prometheus.series('up{component="learner"} == 1', span)
            wrong = draw(prometheus, Span(begun, learned[0].times[-1], SCRAPE_S))
    finally:
        process.terminate()
        process.wait()
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
