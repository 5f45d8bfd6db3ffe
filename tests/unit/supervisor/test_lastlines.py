"""What a dead process's log is quoted with."""

import json
import traceback
from pathlib import Path

from hiper.supervisor.lastlines import last_error, last_lines


def written(tmp_path: Path, *lines: str) -> Path:
    log = tmp_path / "service.log"
    log.write_text("".join(f"{line}\n" for line in lines))
    return log


def entry(level: str, **fields: str) -> str:
    return json.dumps({**fields, "level": level})


def test_the_last_error_is_quoted_whole_however_long_its_line_is(tmp_path: Path) -> None:
    error = "panel p does not fit the data: " + "valid_seen/" * 40 + "game.tw-pddl differs"
    log = written(
        tmp_path, entry("error", error="an earlier one"), entry("error", error=error), entry("info", event="x")
    )
    assert last_error(log) == error
    assert len(last_lines(log, 2)[0]) == 300


def test_an_exception_is_quoted_by_its_last_line(tmp_path: Path) -> None:
    log = written(tmp_path, entry("error", event="crashed", exception="Traceback\n  File\nValueError: no"), "bye")
    assert last_error(log) == "ValueError: no"
    assert last_error(written(tmp_path, "starting", "ValueError: torn", "bye")) == "ValueError: torn"


def test_an_exception_group_is_quoted_by_the_last_of_its_exceptions(tmp_path: Path) -> None:
    try:
        raise ExceptionGroup("tasks", [ValueError("first"), RuntimeError("the learner is gone")])
    except ExceptionGroup as group:
        said = "".join(traceback.format_exception(group))
    log = written(tmp_path, entry("error", event="crashed", exception=said))
    assert last_error(log) == "RuntimeError: the learner is gone"


def test_without_an_error_the_last_line_is_quoted(tmp_path: Path) -> None:
    log = written(tmp_path, "one", "", "two" + "!" * 1000)
    assert last_error(log) == "two" + "!" * 297
    assert last_error(log, since=log.stat().st_size) == ""
    assert last_error(tmp_path / "none.log") == ""


def test_only_this_life_is_quoted(tmp_path: Path) -> None:
    log = written(tmp_path, entry("error", error="of the life before"))
    since = log.stat().st_size
    with log.open("a") as file:
        file.write("calm\n")
    assert last_error(log, since=since) == "calm"
