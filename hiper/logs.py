"""Structured logs: JSON lines for machines, short lines for people at a terminal.

Fixed fields: `ts`, `level`, `service`, `event`, and where they apply `run`, `trajectory_id`, `batch_id`,
`policy_version`, `trace_id`, `error`. Secrets are blanked by key name. Everything goes to stderr; data on stdout
belongs to the command line.
"""

import logging
import sys
from collections.abc import Sequence

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

__all__ = ["ERROR", "WARNING", "Logger", "configure", "get"]

ERROR, WARNING = logging.ERROR, logging.WARNING

Logger = FilteringBoundLogger

_SECRET_WORDS = ("password", "token_file", "secret", "authorization", "url")


def configure(
    service: str,
    *,
    run: str = "",
    json_lines: bool | None = None,
    level: int = logging.INFO,
    extra: Sequence[Processor] = (),
) -> None:
    """Set up logging for this process. `json_lines` None: JSON unless stderr is a terminal. `extra` add fields."""
    as_json = not sys.stderr.isatty() if json_lines is None else json_lines
    renderer = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if as_json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=32)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            *extra,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
            structlog.processors.format_exc_info,
            _blank_secrets,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(service=service, **({"run": run} if run else {}))


def get(**fields: str | int) -> Logger:
    """Return a logger with `fields` bound."""
    logger: Logger = structlog.get_logger(**fields)
    return logger


def _blank_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for key in event:
        if any(word in key.lower() for word in _SECRET_WORDS):
            event[key] = "***"
    return event
