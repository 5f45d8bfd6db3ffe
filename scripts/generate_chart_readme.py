"""Write deploy/helm/README.md from the comments of values.yaml.

A comment `# -- text` describes the value below it; a plain comment above a map describes the map. What has no words
cannot be in the table, so a value without a comment is an error.

    python scripts/generate_chart_readme.py [--check]
"""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).resolve().parent.parent / "deploy/helm"
README = CHART / "README.md"
_KEY = re.compile(r"^(?P<indent> *)(?P<key>[A-Za-z0-9_]+):")
_ROW = re.compile(r"^ *# -- (?P<text>.*)$")
_MORE = re.compile(r"^ *# (?P<text>.*)$")


@dataclass(frozen=True)
class Row:
    """One value."""

    path: tuple[str, ...]
    text: str


def rows(lines: list[str]) -> Iterator[Row]:
    """Yield the described values in the order of the file."""
    path: list[str] = []
    words: list[str] = []
    for line in lines:
        if found := _ROW.match(line):
            words = [found["text"]]
        elif words and (found := _MORE.match(line)):
            words.append(found["text"])
        elif found := _KEY.match(line):
            depth = len(found["indent"]) // 2
            path = [*path[:depth], found["key"]]
            if words:
                yield Row(tuple(path), " ".join(words))
            words = []
        else:
            words = []


def undescribed(tree: dict[str, Any], described: set[tuple[str, ...]], path: tuple[str, ...] = ()) -> list[str]:
    """Return the paths of leaves that neither have words nor lie below something that has, or that repeat a default."""
    missing = []
    for key, value in tree.items():
        here = (*path, key)
        if here in described or _repeats_a_default(here, described):
            continue
        if isinstance(value, dict) and value:
            missing += undescribed(value, described, here)
        elif value != {}:
            missing.append(".".join(here))
    return missing


def _repeats_a_default(path: tuple[str, ...], described: set[tuple[str, ...]]) -> bool:
    """A component's own value of what `podDefaults` or `envDefaults` describe."""
    tail = path[2:] if path[0] == "env" else path[1:]
    return any((base, *tail[:length]) in described for base in ("podDefaults", "envDefaults") for length in (1, 2))


def readme(text: str) -> str:
    """Return the README of a values file. Raises `SystemExit` for a value without words."""
    values = yaml.safe_load(text)
    found = list(rows(text.splitlines()))
    missing = undescribed(values, {row.path for row in found})
    if missing:
        sys.exit(f"values.yaml: no comment `# --` for {', '.join(missing)}")
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    parts = [_HEAD.format(**chart, presets=_presets())]
    section = ""
    for row in found:
        title = row.path[0] if len(row.path) > 1 else _TOP.get(row.path[0], "names")
        if title != section:
            parts.append(f"\n### {title}\n\n| value | default | |\n|---|---|---|")
            section = title
        default = values
        for key in row.path:
            default = default[key]
        parts.append(f"| `{'.'.join(row.path)}` | {_shown(default)} | {row.text} |")
    return "\n".join(parts) + "\n"


def _shown(value: object) -> str:
    return f"`{json.dumps(value)}`" if len(json.dumps(value)) <= 60 else "see `values.yaml`"


def _presets() -> str:
    lines = []
    for path in sorted((CHART / "presets").glob("*.yaml")):
        words = re.match(r"(?:# .*\n)+", path.read_text())
        text = " ".join(line.removeprefix("# ") for line in words[0].splitlines()) if words else ""
        lines.append(f"| `presets/{path.name}` | {text} |")
    return "\n".join(lines)


_TOP = {"recipe": "the run", "config": "the run", "extraObjects": "further objects"}
"""Sections of values that belong to no map."""
_HEAD = """<!-- Made by scripts/generate_chart_readme.py from values.yaml; change that. -->
# {name}

{description}.
Chart {version}, program {appVersion}, Kubernetes {kubeVersion}.

    helm install hiper deploy/helm --namespace hiper --create-namespace
    helm test hiper --namespace hiper

That is the demo: a tiny model on CPUs. It needs a storage class with ReadWriteMany; on a laptop's cluster add
`--values deploy/helm/presets/cpu-smoke.yaml`. Step by step:
[docs/deploy-kubernetes.md](../../docs/deploy-kubernetes.md). Upgrades: [UPGRADING.md](UPGRADING.md).

| preset | |
|---|---|
{presets}

## Values

`values.schema.json` is closed: a word the chart does not know fails the install, and so does a setting of `config` the
program does not know. A component (`rollout`, `reward`, `hae`, `learner`, `control`, `broker`, each family
of `env`) takes everything `podDefaults` has, and its own value wins."""


def main() -> None:
    """Write the README, or with --check fail if it is out of date."""
    wanted = readme((CHART / "values.yaml").read_text())
    if "--check" in sys.argv[1:]:
        if not README.exists() or README.read_text() != wanted:
            sys.exit(f"{README.name} of the chart is out of date; run python scripts/generate_chart_readme.py")
        return
    README.write_text(wanted)


if __name__ == "__main__":
    main()
