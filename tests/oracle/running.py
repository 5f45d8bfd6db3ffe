"""Runs a program of this folder with the interpreter that has the original WebShop, and reads its answer."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

PYTHON = os.environ.get("HIPER_WEBSHOP_PYTHON", sys.executable)
_DEADLINE_S = 900


def run_original(program: str, folder: Path, asked: dict[str, Any], *arguments: str) -> dict[str, Any]:
    """What `program` answers to `asked`; both lie in `folder` as JSON, and are its last arguments."""
    question, answer = folder / "asked.json", folder / "answer.json"
    question.write_text(json.dumps(asked))
    command = [PYTHON, str(Path(__file__).with_name(program)), *arguments, str(question), str(answer)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_DEADLINE_S)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(answer.read_text())
