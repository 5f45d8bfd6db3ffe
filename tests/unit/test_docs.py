"""Documents point at what exists: files, and headings of files."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from hiper.failpoint import Failpoint

ROOT = Path(__file__).parents[2]
_SKIPPED = {"node_modules", "runs", "build", "dist", "data"}
_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)


def _documents() -> Iterator[Path]:
    for path in sorted(ROOT.rglob("*.md")):
        parts = path.relative_to(ROOT).parts
        if not any(part.startswith(".") or part in _SKIPPED for part in parts):
            yield path


def _anchors(document: Path) -> set[str]:
    """As GitHub makes them: lower case, spaces to hyphens, no punctuation; the second of a name gets -1."""
    seen: dict[str, int] = {}
    anchors = set()
    for heading in _HEADING.findall(_FENCE.sub("", document.read_text(encoding="utf-8"))):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        number = seen.get(slug, 0)
        seen[slug] = number + 1
        anchors.add(f"{slug}-{number}" if number else slug)
    return anchors


def _broken(document: Path) -> Iterator[str]:
    for target in _LINK.findall(_FENCE.sub("", document.read_text(encoding="utf-8"))):
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue  # Elsewhere on the network.
        name, _, anchor = target.partition("#")
        path = (document.parent / name).resolve() if name else document
        if not path.exists() or (anchor and path.suffix == ".md" and anchor not in _anchors(path)):
            yield target


@pytest.mark.parametrize("document", list(_documents()), ids=lambda path: str(path.relative_to(ROOT)))
def test_links_resolve(document: Path) -> None:
    assert list(_broken(document)) == []


def test_broken_links_are_found(tmp_path: Path) -> None:
    document = tmp_path / "a.md"
    document.write_text("# Here and there\n[a](#here-and-there) [b](#nowhere) [c](none.md) ![d](a.md)[e](a.md#here)\n")
    assert list(_broken(document)) == ["#nowhere", "none.md", "a.md#here"]


def test_a_test_that_is_named_is_in_the_file_it_links_to() -> None:
    named = re.compile(r"\[(test_\w+)\]\(([^)#]+\.py)\)")
    for document in _documents():
        for name, target in named.findall(document.read_text(encoding="utf-8")):
            assert f"def {name}(" in (document.parent / target).read_text(encoding="utf-8"), f"{document.name}: {name}"


def test_every_failpoint_has_a_row_of_the_matrix() -> None:
    matrix = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
    assert [point for point in Failpoint if f"`{point}`" not in matrix] == []
