"""Wiring of the `hiper` command, and the one place where errors become lines and exit codes.

Exit codes: 0 done, 1 failure, 2 usage or configuration, 3 something needed is missing or unreachable, 130 interrupted.
"""

import os
import sys

import typer

from hiper import __version__
from hiper.cli import (
    bench_commands,
    broker_commands,
    chaos_commands,
    config_commands,
    data_commands,
    dlq_commands,
    env_commands,
    eval_command,
    export_command,
    hae_commands,
    init_command,
    metrics_commands,
    request_commands,
    run_commands,
    service_commands,
)
from hiper.errors import ExitCode, HiperError

__all__ = ["app", "main"]

# typer brings its own click; its exceptions are reached through a public name.
_ClickError: type[Exception] = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name="hiper",
    help="Train plan-execute LLM agents with Hierarchical Advantage Estimation. Begin with `hiper demo`.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=True,
)
run_commands.add_to(app)
service_commands.add_to(app)
chaos_commands.add_to(app)
app.command("eval")(eval_command.evaluate)
app.command()(export_command.export)
app.command()(init_command.init)
app.add_typer(bench_commands.app, name="bench")
app.add_typer(broker_commands.app, name="broker")
app.add_typer(env_commands.app, name="env")
app.add_typer(hae_commands.app, name="hae")
app.add_typer(config_commands.app, name="config")
app.add_typer(data_commands.app, name="data")
app.add_typer(dlq_commands.app, name="dlq")
app.add_typer(metrics_commands.app, name="metrics")
app.add_typer(request_commands.app, name="run")


@app.command()
def version() -> None:
    """Print the version. Example: hiper version."""
    sys.stdout.write(f"{__version__}\n")


def main() -> None:
    """Run the command line and exit."""
    code = int(ExitCode.OK)
    try:
        result = app(standalone_mode=False)
        code = result if isinstance(result, int) else code
    except HiperError as error:
        code = _say(str(error), int(error.exit_code))
    except typer.Exit as error:
        code = error.exit_code
    except (typer.Abort, KeyboardInterrupt):
        code = int(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output has gone, e.g. `hiper env tasks | head`; flushing at exit must not complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = int(ExitCode.FAILURE)
    except _ClickError as error:
        path = getattr(getattr(error, "ctx", None), "command_path", "hiper")
        code = _say(f"{getattr(error, 'message', error)} — see `{path} --help`", int(ExitCode.USAGE))
    sys.exit(code)


def _say(line: str, code: int) -> int:
    sys.stderr.write(f"error: {' '.join(line.split())}\n")
    return code
