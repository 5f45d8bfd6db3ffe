"""`hiper export`: a policy version of a run as a folder anybody can load, with a card that says where it comes from.

Published weights are in Hugging Face format already, adapters merged and tokenizer beside them, so nothing is
converted: the files are verified against their manifest, copied byte for byte and joined by README.md and the settings
of the run.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hiper import __version__
from hiper.durable import replace_directory, write_bytes, write_json
from hiper.errors import DataError
from hiper.report.checkpoint import SETTINGS, chosen_version
from hiper.report.files import RunFiles, Tree
from hiper.weights.manifest import MANIFEST, Manifest, verify, version_directory

__all__ = ["Exported", "export_model", "model_card"]


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    directory: Path
    version: int
    bytes: int
    manifest_sha256: str
    """Of the published version the files are those of."""


def export_model(run_dir: Path, output: Path, version: int | None = None) -> Exported:
    """Write a policy version, the newest on disk unless told, to the new folder `output`.

    Raises `DataError` if the run has no such version, or if there is something at `output`; `IntegrityError` for
    damaged weights.
    """
    chosen = chosen_version(run_dir, version)
    if output.exists():
        raise DataError(f"{output} exists already", "name a folder that does not exist")
    source = version_directory(run_dir / "weights", chosen)
    manifest = verify(source)
    files = RunFiles(run_dir)
    temporary = output.with_name(f".{output.name}.{os.getpid()}.tmp")
    temporary.mkdir(parents=True)
    try:
        shutil.copytree(source, temporary, dirs_exist_ok=True, ignore=shutil.ignore_patterns(MANIFEST))
        write_json(temporary / SETTINGS, files.tree("config.json"))
        write_bytes(temporary / "README.md", model_card(files, manifest).encode())
        replace_directory(temporary, output)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Exported(output, chosen, sum(file.bytes for file in manifest.files), manifest.sha256)


def model_card(files: RunFiles, manifest: Manifest) -> str:
    """Return README.md of an exported version: what it was trained on, with what, and how well it does."""
    config = files.tree("config.json")
    base, environment = _at(config, "model", "path"), _at(config, "env", "name")
    estimator = _at(config, "hae", "estimator", "name")
    trained = {
        "run": config.get("run", ""),
        "policy version": manifest.version,
        "base model": base,
        "environment": environment,
        "advantage estimator": estimator,
        "learning rate": _at(config, "learner", "actor", "lr"),
        "episodes per batch": _product(config, "tasks_per_batch", "samples_per_task"),
        "seed": config.get("seed", ""),
        "prompt": _at(config, "rollout", "prompt", "style"),
        "settings": f"`{SETTINGS}`",
        "manifest sha256": f"`{manifest.sha256}`",
        "made with": f"hiper {__version__}",
    }
    head = ["---", "library_name: transformers", "pipeline_tag: text-generation", "tags: [hiper, agent]"]
    if "/" in str(base) and not str(base).startswith(("/", ".")):
        head.append(f"base_model: {base}")
    body = [
        f"# {config.get('run', 'model')}, version {manifest.version}",
        "",
        f"A plan-execute agent for {environment}: every turn it says whether it keeps or switches its sub-goal, names",
        "it, and acts. Trained with [HiPER](https://arxiv.org/abs/2602.16165).",
        "",
        *_table(("", ""), trained.items()),
        "",
        "## Evaluation",
        "",
        *_evaluation(files.evaluations(), manifest.version),
        "",
        "## Use",
        "",
        "```python",
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        'model = AutoModelForCausalLM.from_pretrained(".", dtype="auto")',
        'tokenizer = AutoTokenizer.from_pretrained(".")',
        "```",
        "",
        "Prompts are built by `hiper.plan_execute`; a response has a switch, a sub-goal and an action block.",
    ]
    return "\n".join([*head, "---", *body, ""])


def _evaluation(lines: Sequence[Tree], version: int) -> Iterator[str]:
    """The last evaluation at or before `version`: success with its interval, overall and by task type."""
    known = [line for line in lines if line["version"] <= version]
    if not known:
        yield "Not evaluated."
        return
    line = known[-1]
    yield f"Version {line['version']} on panel `{line.get('panel', '')}` ({line.get('split', '')}, sha256"
    yield f"`{line.get('panel_sha256', '')}`), success with its 95 % Wilson interval:"
    yield ""
    rows = {"all": line, **line.get("by_task_type", {})}
    yield from _table(("tasks", "success"), ((kind, _success(row)) for kind, row in rows.items()))


def _success(row: Tree) -> str:
    percent = "{:.1%} ({:.1%} to {:.1%}), {} of {}"
    return percent.format(row["success"], row["low"], row["high"], row["won"], row["played"])


def _table(head: tuple[str, str], rows: Any) -> Iterator[str]:
    yield f"| {head[0]} | {head[1]} |"
    yield "|---|---|"
    for name, value in rows:
        yield f"| {name} | {value} |"


def _at(tree: Tree, *path: str) -> Any:
    """A nested value, empty where an older run does not have it."""
    value: Any = tree
    for key in path:
        value = value.get(key, "") if isinstance(value, dict) else ""
    return value


def _product(config: Tree, *names: str) -> int:
    learner = config.get("learner", {})
    product = 1
    for name in names:
        product *= learner.get(name, 1)
    return product
