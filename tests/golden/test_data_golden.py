"""`hiper data check` on the real data: every game and file is recognised."""

import os
from pathlib import Path

import pytest

from hiper.datasets.inspection import inspect_data

DATA = Path(os.environ.get("HIPER_DATA", Path(__file__).resolve().parents[2] / "../shared/data"))

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not DATA.is_dir(), reason="no data: set HIPER_DATA or have ../shared/data"),
]


def test_all_games_are_as_published() -> None:
    (found,) = inspect_data(DATA, "alfworld")
    assert (found.problems, found.notes) == ([], [])
    assert (found.facts["games"], found.facts["as_published"], found.facts["versions"]) == (4027, 4027, {"2.1.2": 4027})
    types = found.facts["splits"]["valid_seen"]  # type: ignore[index,call-overload]
    assert list(types.values()) == [13, 35, 27, 25, 16, 24]  # spec 1.1, types in alphabetical order


def test_the_small_shop_is_recognised() -> None:
    (found,) = inspect_data(DATA, "webshop")
    assert found.problems == []
    assert (found.facts["products"], found.facts["goals"], found.facts["human_instructions"]) == (1000, 6910, 13)
    files = found.facts["files"]
    known = [name for name, file in files.items() if file["published"]]  # type: ignore[union-attr,call-overload]
    assert known == ["items_shuffle_1000.json", "items_ins_v2_1000.json"]
