"""Copy into deploy/helm what is written elsewhere, since a chart sees no file outside its folder.

- recipes/ from configs/, dashboards/ from deploy/grafana/dashboards;
- rules/ from deploy/prometheus/alerts, each with its entry of docs/operations.md: an alert tells what to do where no
  page can be reached;
- the schema of `config` in values.schema.json from `hiper config schema`: a wrong setting fails the install;
- appVersion from pyproject.toml.

    python scripts/sync_chart.py [--check]
"""

import json
import re
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hiper.config import RunConfig

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "deploy/helm"
RECIPES = ("demo.yaml",)
RUNBOOK = "docs/operations.md"
_DROPPED = ("required", "default", "discriminator")


def wanted() -> dict[Path, str]:
    """Return the text every synced file must have."""
    sources = {
        "recipes": [ROOT / "configs" / name for name in RECIPES],
        "dashboards": sorted((ROOT / "deploy/grafana/dashboards").glob("*.json")),
    }
    files = {CHART / folder / source.name: source.read_text() for folder, found in sources.items() for source in found}
    entries = runbook((ROOT / RUNBOOK).read_text())
    for source in sorted((ROOT / "deploy/prometheus/alerts").glob("*.y*ml")):
        files[CHART / "rules" / source.name] = with_runbook(source.read_text(), entries)
    schema = json.loads((CHART / "values.schema.json").read_text())
    schema["$defs"]["config"] = values_schema(RunConfig.model_json_schema())
    files[CHART / "values.schema.json"] = json.dumps(schema, indent=2) + "\n"
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    chart = (CHART / "Chart.yaml").read_text()
    files[CHART / "Chart.yaml"] = re.sub(r"(?m)^appVersion: .*$", f"appVersion: {version}", chart)
    return files


def runbook(page: str) -> dict[str, str]:
    """Return the entries of the runbook by anchor, each as one line without Markdown's emphasis and links."""
    parts = re.split(r"(?m)^#+ (.+)$", page)
    plain = (re.sub(r"\[([^]]+)\]\([^)]+\)|[*`]", r"\1", text) for text in parts[2::2])
    return {name.lower(): " ".join(text.split()) for name, text in zip(parts[1::2], plain, strict=True)}


def with_runbook(rules: str, entries: Mapping[str, str]) -> str:
    """Return the rules with each alert's entry beside the link to it; KeyError for an alert without one."""

    def entry(link: re.Match[str]) -> str:
        # Two braces would begin a template of Prometheus.
        text = entries[link["anchor"]].replace("{{", "{ {")
        return f"{link['indent']}runbook: {json.dumps(text, ensure_ascii=False)}\n{link[0]}"

    return re.sub(rf"(?m)^(?P<indent> +)runbook_url: {re.escape(RUNBOOK)}#(?P<anchor>\w+)$", entry, rules)


def values_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of part of a run file: nothing is required, and an alternative may be named elsewhere."""
    definitions = {name: _partial(body) for name, body in schema["$defs"].items()}
    return {**_partial({key: value for key, value in schema.items() if key != "$defs"}), "$defs": definitions}


def _partial(node: Any) -> Any:
    if isinstance(node, list):
        return [_partial(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {}
    for key, value in node.items():
        if key not in _DROPPED:
            kept["anyOf" if key == "oneOf" else key] = _partial(value)
    if isinstance(kept.get("$ref"), str):
        kept["$ref"] = kept["$ref"].replace("#/$defs/", "#/$defs/config/$defs/")
    return kept


def stale(files: Mapping[Path, str]) -> list[Path]:
    """Return the files that differ, and those that are there and should not be."""
    differing = [path for path, text in files.items() if not path.exists() or path.read_text() != text]
    folders = [CHART / name for name in ("recipes", "rules", "dashboards")]
    return differing + [path for folder in folders for path in sorted(folder.glob("*")) if path not in files]


def main() -> None:
    """Write what is out of date, or with --check say what is and fail."""
    files = wanted()
    found = stale(files)
    if "--check" in sys.argv[1:]:
        if found:
            names = ", ".join(str(path.relative_to(ROOT)) for path in found)
            sys.exit(f"out of date: {names}; run python scripts/sync_chart.py")
        return
    for path in found:
        if path in files:
            path.parent.mkdir(exist_ok=True)
            path.write_text(files[path])
        else:
            path.unlink()


if __name__ == "__main__":
    main()
