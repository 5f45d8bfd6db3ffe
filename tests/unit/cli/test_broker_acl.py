"""`hiper broker acl`: to standard output, or into a file only its owner reads."""

import stat
from pathlib import Path

import pytest
from command_line import hiper, refused

from hiper.streams.acl import USERS


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    folder = tmp_path / "secrets"
    folder.mkdir()
    for user in USERS:
        (folder / user).write_text(f"password of {user}\n")
    return folder


def test_a_file_holds_what_would_be_printed_and_only_its_owner_reads_it(secrets: Path, tmp_path: Path) -> None:
    printed = hiper("broker", "acl", "--run", "demo", "--secrets", str(secrets))
    output = tmp_path / "users.acl"
    written = hiper("broker", "acl", "--run", "demo", "--secrets", str(secrets), "--output", str(output))
    assert written.returncode == printed.returncode == 0
    assert written.stdout == ""
    assert output.read_text() == printed.stdout
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    assert "password" not in printed.stdout


def test_a_file_that_cannot_be_written_is_one_line(secrets: Path, tmp_path: Path) -> None:
    output = tmp_path / "missing" / "users.acl"
    done = hiper("broker", "acl", "--run", "demo", "--secrets", str(secrets), "--output", str(output))
    refused(done, done.returncode, f"cannot write {output}: No such file or directory", "a folder you own")
    assert done.returncode != 0


def test_a_password_that_is_missing_is_named(secrets: Path) -> None:
    (secrets / "hae").unlink()
    done = hiper("broker", "acl", "--run", "demo", "--secrets", str(secrets))
    refused(done, done.returncode, "no password for user 'hae'")
    assert done.returncode != 0
