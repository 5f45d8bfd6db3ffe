"""Files named by their sha256, from the learner and from those who have fetched them before.

A file is `<name>.part` until its hash has been compared. Bytes may come from several peers one after the other; if they
do not make the file, it is fetched once more from the learner alone, and only then given up.
"""

import hashlib
import random
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import closing, suppress
from dataclasses import dataclass
from io import BufferedRandom, BufferedReader
from pathlib import Path

from hiper import logs
from hiper.config.weights import WeightsSettings
from hiper.errors import IntegrityError, RemoteError
from hiper.metrics import counter
from hiper.rpc.auth import TokenFile
from hiper.weights.manifest import WeightFile
from hiper.weights.peer import Interrupted, Pace, Peer
from hiper.weights.shelf import Shelf

__all__ = ["Download", "Relay", "hold_against"]

_PAUSE_S = 0.2
_SMALL_BYTES = 2**20
"""Up to here a file is not worth asking who else has it."""


@dataclass(frozen=True, slots=True)
class Relay:
    """What this process serves to others, and the base URL they reach it under."""

    shelf: Shelf
    url: str


@dataclass(frozen=True, slots=True)
class Download:
    """Files of one version. `origin` is the learner's base URL."""

    origin: str
    settings: WeightsSettings
    token: TokenFile | None
    pace: Pace
    relay: Relay | None = None

    def all(self, files: Sequence[WeightFile], folder: Path) -> None:
        """Bring `files` into `folder`, several at once, each under its name once it is verified.

        Raises `RemoteError`, or `IntegrityError` naming the file that the learner itself has not as it was announced.
        """
        failed = threading.Event()
        # Everybody in another order: what one has first is what the next one can give.
        shuffled = random.sample(files, len(files))
        with ThreadPoolExecutor(self.settings.streams, "weights") as pool:
            futures = [pool.submit(self._one, file, folder, failed) for file in shuffled]
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            causes = [error for future in done if (error := future.exception()) is not None]
            if causes:
                failed.set()
                pool.shutdown(wait=False, cancel_futures=True)
        if causes:
            raise causes[0]

    def ask(self, path: str) -> bytes | None:
        """A short answer of the learner, or None if it has none. Waits for a learner that is away, within `pace`."""
        while True:
            try:
                with closing(self._peer(self.origin)) as peer:
                    return peer.get(path)
            except Interrupted as error:
                self.pace.check(str(error))
                self.pace.pause(_PAUSE_S)

    def offer(self, file: WeightFile, path: Path) -> None:
        """Let others have a verified file, if this process relays."""
        if self.relay is None:
            return
        self.relay.shelf.put(file.sha256, path)
        if file.bytes > _SMALL_BYTES:
            with suppress(Interrupted, RemoteError), closing(self._peer(self.origin)) as peer:
                peer.offer(self.relay.url, [file.sha256])  # unheard, it costs the learner's link a transfer

    def _one(self, file: WeightFile, folder: Path, failed: threading.Event) -> None:
        path, part = folder / file.name, folder / f"{file.name}.part"
        if path.exists():
            return
        part.parent.mkdir(parents=True, exist_ok=True)
        if not self._arrive(file, part, failed, alone=False):
            part.unlink()
            logs.get().warning("bytes of several peers do not make a file", file=file.name, sha256=file.sha256)
            if not self._arrive(file, part, failed, alone=True):
                part.unlink()
                raise IntegrityError(f"{self.origin}: {file.name} is not what the manifest says: its sha256 differs")
        part.rename(path)
        self.offer(file, path)

    def _arrive(self, file: WeightFile, part: Path, failed: threading.Event, *, alone: bool) -> bool:
        """Add to `part` what it lacks; return whether it is the file then. `alone`: from the learner only."""
        useless: set[str] = set()
        last = ""
        with part.open("a+b") as out:
            digest, have = hold_against(out)
            while have < file.bytes:
                self.pace.check(last)
                url = self.origin if alone else self._choose(file, useless)
                try:
                    for chunk in self._stream(url, file, have):
                        out.write(chunk)
                        digest.update(chunk)
                        have += len(chunk)
                        if failed.is_set():
                            raise RemoteError("another file failed")
                except Interrupted as error:
                    last = str(error)
                    useless.add(url)
                    self.pace.pause(_PAUSE_S * random.uniform(0.5, 1.5))
        return digest.hexdigest() == file.sha256

    def _stream(self, url: str, file: WeightFile, have: int) -> Iterator[memoryview]:
        source = "learner" if url == self.origin else "peer"
        try:
            with closing(self._peer(url)) as peer:
                for chunk in peer.read(file.sha256, have, file.bytes):
                    yield chunk
                    counter("weights_received_bytes_total").labels(source=source).inc(len(chunk))
                    self.pace.moved()
                    self.pace.check()
        except RemoteError as error:
            if source == "learner":
                raise
            self.pace.check()
            raise Interrupted(error.message) from error

    def _choose(self, file: WeightFile, useless: set[str]) -> str:
        """Somebody else who has the file; the learner, if nobody offers it or those who do have failed."""
        if file.bytes <= _SMALL_BYTES:
            return self.origin
        try:
            with closing(self._peer(self.origin)) as peer:
                urls = peer.holders(file.sha256)
        except Interrupted:
            return self.origin
        own = self.relay.url if self.relay else ""
        return random.choice([url for url in urls if url not in useless and url != own] or [self.origin])

    def _peer(self, url: str) -> Peer:
        return Peer(url, self.token, self.settings.silence_timeout_s)


def hold_against(file: BufferedReader | BufferedRandom) -> "tuple[hashlib._Hash, int]":
    """The running sha256 of what a file holds from its start, and how much that is; leaves it at its end."""
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256")
    return digest, file.tell()
