"""Dead letters (P6): entries nobody could process, kept whole until a person replays or purges them.

A dead batch takes its members along: they wait under another key and count as dead-lettered, and the learner reports
the batch as missing. Replay is the exact inverse; what comes back is processed as if it had never left.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hiper.errors import HiperError
from hiper.metrics import counter
from hiper.streams.broker import Broker
from hiper.streams.entry import Delivery
from hiper.vocabulary import Stream

__all__ = ["DeadLetter", "DeadLetters", "Letter", "dead_letter"]

_OWN_FIELDS = "dl."


@dataclass(frozen=True, slots=True)
class Letter:
    """An entry to be moved to the dead letters, and why."""

    stream: Stream
    group: str
    delivery: Delivery
    error: str

    @property
    def kind(self) -> str:
        """What the entry stands for in the conservation law."""
        if self.stream is Stream.TASKS:
            return "task"
        if self.stream is Stream.SCORED:
            return "batch"
        is_marker = self.stream is Stream.ADVANTAGES and self.delivery.fields.get("members") == b"0"
        return "marker" if is_marker else "trajectory"


async def dead_letter(broker: Broker, letter: Letter) -> bool:
    """Move an entry to the dead letters; False if somebody else had taken it."""
    delivery, keys = letter.delivery, broker.keys
    names = [keys.stream(letter.stream), keys.stream(Stream.DEAD_LETTERS), keys.counts]
    if letter.kind == "batch":
        names += _batch_keys(broker, delivery.batch_id)
    words = (letter.group, delivery.entry_id, letter.kind, delivery.batch_id, letter.stream.value)
    moved = bool(await broker.script("dead_letter", names, *words, letter.error, delivery.deliveries))
    if moved:
        reason = "deliveries" if delivery.deliveries > broker.settings.max_deliveries else "content"
        counter("stream_dead_lettered_total").labels(stream=letter.stream.value, reason=reason).inc()
    return moved


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One dead letter."""

    entry_id: str
    """Its id among the dead letters; the first part is the server's time in milliseconds."""
    stream: Stream
    """Where it came from."""
    source_id: str
    """Its id there."""
    kind: str
    """`task`, `trajectory`, `batch` or `marker`."""
    weight: int
    """Trajectories it stands for."""
    error: str
    deliveries: int
    trajectory_id: str
    batch_id: str
    payload: bytes
    fields: Mapping[str, bytes]
    """The entry as it was."""

    @property
    def at_ms(self) -> int:
        """Server time it was moved here, Unix milliseconds."""
        return int(self.entry_id.partition("-")[0])


class DeadLetters:
    """`hiper dlq`: look at dead letters, put them back, throw them away."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._key = broker.keys.stream(Stream.DEAD_LETTERS)

    async def list(self, limit: int = 100, after: str = "") -> Sequence[DeadLetter]:
        """Up to `limit` dead letters, the oldest first, those after entry `after` only."""
        start = f"({after}" if after else "-"
        entries = await self._broker.command("XRANGE", self._key, start, "+", "COUNT", limit)
        return [_parse(entry_id, fields) for entry_id, fields in entries]

    async def show(self, entry_id: str) -> DeadLetter:
        """One dead letter. Raises HiperError if there is none of this id."""
        entries = await self._broker.command("XRANGE", self._key, entry_id, entry_id)
        if not entries:
            raise HiperError(
                f"there is no dead letter {entry_id} in run {self._broker.run}", hint="see `hiper dlq list`"
            )
        return _parse(*entries[0])

    async def replay(self, entry_id: str) -> bool:
        """Put a dead letter back into its stream, with no deliveries; False if another replay or purge came first."""
        letter, keys = await self.show(entry_id), self._broker.keys
        names = [self._key, keys.stream(letter.stream), keys.counts]
        if letter.kind == "batch":
            names += _batch_keys(self._broker, letter.batch_id)
        return bool(await self._broker.script("replay", names, entry_id, letter.kind, letter.weight, letter.batch_id))

    async def purge(self, entry_id: str) -> bool:
        """Delete a dead letter and count what it stood for as dropped; False if another replay or purge came first."""
        letter, keys = await self.show(entry_id), self._broker.keys
        names = [self._key, keys.counts]
        if letter.kind == "batch":
            names.append(keys.set_aside(letter.batch_id))
        return bool(await self._broker.script("purge", names, entry_id, letter.weight))


def _batch_keys(broker: Broker, batch_id: str) -> Sequence[str]:
    return [broker.keys.members(batch_id), broker.keys.set_aside(batch_id), broker.keys.due]


def _parse(entry_id: bytes, raw: Mapping[bytes, bytes]) -> DeadLetter:
    everything = {name.decode(): value for name, value in raw.items()}
    own = {
        name.removeprefix(_OWN_FIELDS): value.decode()
        for name, value in everything.items()
        if name.startswith(_OWN_FIELDS)
    }
    fields = {name: value for name, value in everything.items() if not name.startswith(_OWN_FIELDS)}
    return DeadLetter(
        entry_id=entry_id.decode(),
        stream=Stream(own["stream"]),
        source_id=own["entry"],
        kind=own["kind"],
        weight=int(own["weight"]),
        error=own["error"],
        deliveries=int(own["deliveries"]),
        trajectory_id=fields.get("id", b"").decode(errors="replace"),
        batch_id=fields.get("batch", b"").decode(errors="replace"),
        payload=fields.get("p", b""),
        fields=fields,
    )
