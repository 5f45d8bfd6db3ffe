"""Looking at a WebShop catalogue: which files it has, whether they were published so, and what shop they make.

A catalogue of one's own is as good as a published one, so an unknown hash is a note. A file that cannot be read is a
problem.
"""

import gzip
import hashlib
from collections.abc import Iterator
from pathlib import Path

from hiper.datasets.findings import Finding, Inspection
from hiper.durable import JsonValue
from hiper.envs.webshop.catalogue import read_instructions
from hiper.envs.webshop.files import ShopFiles, find_files, known_hash
from hiper.envs.webshop.source import WebShopFiles
from hiper.errors import DataError
from hiper.vocabulary import EnvName

__all__ = ["inspect_webshop"]


def inspect_webshop(path: Path) -> Inspection:
    """Look at the catalogue at `path`. Raises `DataError` if there is none."""
    files = find_files(path)
    problems, notes, listed = list[Finding](), list[Finding](), dict[str, JsonValue]()
    for file in _present(files):
        try:
            size, digest = _hashed(file)
        except (OSError, EOFError) as error:
            problems.append(Finding(file.name, f"broken: {error}"))
            continue
        published = known_hash(digest)
        listed[file.name] = {"bytes": size, "sha256": digest, "published": published}
        if published is None:
            notes.append(Finding(file.name, f"not known as published: {size} bytes, sha256 {digest[:16]}"))
    facts, summary = dict[str, JsonValue](), list[str]()
    try:
        facts, summary = _shop(files)
    except DataError as error:
        problems.append(Finding(files.items.name, f"broken: {error.message}"))
    return Inspection(EnvName.WEBSHOP, str(files.items.parent), {"files": listed, **facts}, summary, problems, notes)


def _present(files: ShopFiles) -> Iterator[Path]:
    for file in (files.items, files.attributes, files.human, files.nouns):
        if file is not None:
            yield file


def _hashed(path: Path) -> tuple[int, str]:
    """Size and hash of a file's uncompressed bytes."""
    size, digest = 0, hashlib.sha256()
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        while chunk := file.read(1 << 20):
            size += len(chunk)
            digest.update(chunk)
    return size, digest.hexdigest()


def _shop(files: ShopFiles) -> tuple[dict[str, JsonValue], list[str]]:
    """What the files make, in numbers and in lines. Raises `DataError` for files that make no shop."""
    source = WebShopFiles(files.items)
    human = sum(map(len, read_instructions(files.human).values())) if files.human else 0
    splits = {split: len(source.ids(split)) for split in source.splits()}
    facts: dict[str, JsonValue] = {
        "catalogue": files.name,
        "products": len(source.shop.catalogue),
        "goals": len(source.shop.goals),
        "human_instructions": human,
        "splits": splits,
        "fingerprint": dict(source.fingerprint()),
    }
    summary = [
        f"catalogue {files.name}: {facts['products']} products, {facts['goals']} goals, {human} human instructions",
        "splits: " + ", ".join(f"{split} {size}" for split, size in splits.items()),
        f"nouns: {source.fingerprint()['nouns']}",
    ]
    return facts, summary
