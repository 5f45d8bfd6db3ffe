"""`hiper init`: secrets are made once, and only their owner reads them."""

import stat
from pathlib import Path

from command_line import hiper, refused

from hiper.streams.acl import USERS, acl_file


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def init(folder: Path, **environment: str) -> None:
    assert hiper("init", "--config", "demo", "--secrets", str(folder), **environment).returncode == 0


def test_every_user_and_every_service_that_asks_for_a_token_gets_a_secret_of_its_own(tmp_path: Path) -> None:
    init(tmp_path)
    made = contents(tmp_path)
    rights = made.pop("users.acl")
    assert made.keys() == {"grpc", "control", *(f"broker/{user}" for user in USERS)}
    assert len(set(made.values())) == len(made)
    assert min(map(len, made.values())) >= 32
    assert rights == acl_file("demo", {user: made[f"broker/{user}"] for user in USERS})
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in made} == {0o600}


def test_what_exists_is_kept_what_is_missing_or_empty_is_made_and_rights_follow_the_run(tmp_path: Path) -> None:
    init(tmp_path)
    before = contents(tmp_path)
    (tmp_path / "grpc").unlink()
    (tmp_path / "control").write_text("")
    init(tmp_path, HIPER_RUN="other")
    after = contents(tmp_path)
    assert {name for name in after if after[name] != before[name]} == {"grpc", "control", "users.acl"}
    assert after["control"]
    assert "hiper:{other}:" in after["users.acl"]


def test_a_folder_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused(hiper("init", "--config", "demo", "--secrets", str(tmp_path / "file")), 1, "cannot keep secrets in")
