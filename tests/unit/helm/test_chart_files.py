"""What the chart holds twice is the same in both places, and its README tells every value."""

import json
import runpy
import subprocess
import sys

import pytest
import yaml
from chart_render import CHART, ROOT
from jsonschema import Draft7Validator

from hiper.config import RunConfig


@pytest.mark.parametrize("script", ["sync_chart.py", "generate_chart_readme.py"])
def test_generated_files_are_up_to_date(script: str) -> None:
    command = [sys.executable, ROOT / "scripts" / script, "--check"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr


def test_a_value_without_words_is_an_error() -> None:
    script = runpy.run_path(str(ROOT / "scripts/generate_chart_readme.py"))
    with pytest.raises(SystemExit, match=r"no comment `# --` for a\.b"):
        script["readme"]("a:\n  b: 1\n  # -- Told.\n  c: 2\n")


def test_words_of_several_lines_are_one_text() -> None:
    script = runpy.run_path(str(ROOT / "scripts/generate_chart_readme.py"))
    (row,) = script["rows"](["a:", "  # -- First", "  # and second.", "  b: 1"])
    assert (row.path, row.text) == (("a", "b"), "First and second.")


def test_every_default_is_one_the_schema_knows() -> None:
    """A closed schema with a hole would take a typo."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    open_objects = sorted(_open_objects(schema, ""))
    assert open_objects == [], "only what Kubernetes itself defines is free"


def _open_objects(node: object, path: str) -> list[str]:
    if not isinstance(node, dict):
        return []
    found = []
    if "properties" in node and node.get("additionalProperties") is not False:
        found.append(path)
    for key, child in node.items():
        found += _open_objects(child, f"{path}/{key}")
    return found


def test_the_schema_knows_every_setting_of_the_program() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())["$defs"]["config"]
    assert set(schema["properties"]) == set(RunConfig.model_fields)
    assert "required" not in json.dumps(schema), "a preset may say as little as it likes"


def test_the_schema_is_of_a_draft_that_helm_3_reads_too() -> None:
    """Helm before 3.18 knows none after draft 7."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"
    Draft7Validator.check_schema(schema)
    Draft7Validator(schema).validate(yaml.safe_load((CHART / "values.yaml").read_text()))
