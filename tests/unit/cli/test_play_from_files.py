"""`hiper env play` with actions from a file or a pipe."""

import json
from pathlib import Path

from command_line import hiper, refused

SHOP = ("env", "play", "--env", "webshop", "--task")


def lines(*arguments: str, stdin: str = "") -> list[dict]:
    done = hiper(*arguments, stdin=stdin)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_an_action_is_a_line_whatever_other_breaks_it_holds(tmp_path: Path) -> None:
    actions = ["search[a\u2028b]", "", "click[x\x0by]"]
    file = tmp_path / "actions"
    file.write_text("\n".join(actions) + "\n", encoding="utf-8")
    from_file = lines(*SHOP, "goal:0", "--actions", str(file))
    assert [line["action"] for line in from_file] == [None, *actions]
    assert lines(*SHOP, "goal:0", "--actions", "-", stdin=file.read_text(encoding="utf-8")) == from_file


def test_a_shop_says_whether_there_is_a_search_bar_and_lists_what_can_be_clicked() -> None:
    start, results = lines(*SHOP, "goal:0", "--actions", "-", stdin="search[lamp]\n")
    assert (start["has_search_bar"], start["admissible"]) == (True, ["search"])
    assert results["has_search_bar"] is False
    assert results["admissible"][:2] == ["back to search", "next >"]


def test_actions_that_cannot_be_read_are_one_error(tmp_path: Path) -> None:
    (tmp_path / "actions").write_bytes(b"look\n\xff\n")
    refused(hiper(*SHOP, "goal:0", "--actions", str(tmp_path / "actions")), 1, "actions", "not UTF-8")
    refused(hiper(*SHOP, "goal:0", "--actions", str(tmp_path / "nowhere")), 1, "nowhere")
    refused(hiper(*SHOP, "goal:99999", "--actions", "-"), 1, "goal:99999", "goal:0 to goal:")
