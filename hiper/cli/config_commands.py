"""`hiper config show|check|schema`."""

import json
import sys
from typing import Annotated

import typer

from hiper.cli.output import message
from hiper.cli.recipes import find_recipe
from hiper.config import RunConfig, config_hash, load_config

__all__ = ["app"]

app = typer.Typer(help="Settings: show, check, schema.", no_args_is_help=True)

Recipe = Annotated[str, typer.Argument(help="Run file, or the name of one in configs/.")]


@app.command()
def show(recipe: Recipe) -> None:
    """Print the effective settings as YAML, secrets masked. Example: hiper config show demo."""
    import yaml

    config = load_config(find_recipe(recipe))
    sys.stdout.write(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))


@app.command()
def check(recipe: Recipe) -> None:
    """Exit 0 if a run file is valid. Example: hiper config check configs/demo.yaml."""
    config = load_config(find_recipe(recipe))
    message(f"valid; sha256 {config_hash(config)[:12]}")


@app.command()
def schema() -> None:
    """Print the JSON Schema of run files. Example: hiper config schema > configs/schema.json."""
    sys.stdout.write(json.dumps(RunConfig.model_json_schema(), indent=2) + "\n")
