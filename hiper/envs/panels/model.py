"""The panel file: one JSON object, canonical, with a hash over itself.

Invariants:
- Tasks are sorted by id, each id occurs once, and no task, by id or by content, is both evaluated and trained on.
- `Panel.sha256` covers everything in the file but that field: equal hashes are equal panels.
- The same panel always gives the same bytes, compressed or not.
"""

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence, Set
from functools import cached_property
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hiper.errors import DataError

__all__ = ["Panel", "PanelTask", "dump_panel", "first_difference", "overlap", "parse_panel"]

_HASH = "panel_sha256"
_GZIP_MAGIC = b"\x1f\x8b"
_MAKE_ANOTHER = "make it again with `hiper env panel make`, or take the file from where it came"

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Closed(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class PanelTask(_Closed):
    """One task, fixed."""

    id: Annotated[str, Field(min_length=1)]
    sha256: Sha256
    """Of the task's content; for a game file of its bytes."""
    seed: Annotated[int, Field(ge=0)]
    """Seed handed to the environment."""
    type: str | None = None
    """Task type, for people; what is played says its own."""
    split: str | None = None
    """Split it is from, for people."""
    content_sha256: Sha256 | None = None
    """ALFWorld: of `pddl_problem`, `grammar` and `pddl_domain` joined by zero bytes. Decides when `sha256` differs."""
    price: float | None = None
    """WebShop: what the goal's product costs, as drawn."""
    price_upper: float | None = None
    """WebShop: the goal's price limit, as drawn."""
    ceiling: float | None = None
    """WebShop: reward for buying exactly what the goal asks for (spec 2.7)."""

    @property
    def figures(self) -> dict[str, float]:
        """The drawn figures it fixes."""
        named = {"price": self.price, "price_upper": self.price_upper, "ceiling": self.ceiling}
        return {name: value for name, value in named.items() if value is not None}


class Panel(_Closed):
    """A set of tasks that is evaluated on, or trained on, as a whole."""

    name: Annotated[str, Field(alias="panel", min_length=1)]
    version: Literal[1]
    """Version of this form."""
    env: str
    data: dict[str, str]
    """The source's fingerprint: `version`, hashes of what all tasks share."""
    max_steps: Annotated[int, Field(gt=0)]
    """Step limit the panel is meant for."""
    tasks: Annotated[tuple[PanelTask, ...], Field(min_length=1)]
    train: tuple[PanelTask, ...] = ()
    """Tasks to train on when evaluating on `tasks`, where the panel says so (WebShop)."""

    @model_validator(mode="after")
    def _sorted_and_disjoint(self) -> "Panel":
        for name, tasks in (("tasks", self.tasks), ("train", self.train)):
            for before, after in pairwise(tasks):
                if before.id >= after.id:
                    raise ValueError(f"{name} are not sorted by id: {after.id!r} after {before.id!r}")
        shared = overlap(self.tasks, self.train)
        if shared is not None:
            raise ValueError(f"{shared!r} is both evaluated and trained on")
        return self

    @cached_property
    def sha256(self) -> str:
        """Hash over the canonical JSON without the hash itself."""
        return _hash_of(self.document())

    @cached_property
    def ceiling(self) -> float | None:
        """Mean of the best scores there are; None if a task does not say its own."""
        scores = [task.ceiling for task in self.tasks if task.ceiling is not None]
        return sum(scores) / len(scores) if len(scores) == len(self.tasks) else None

    def document(self) -> dict[str, Any]:
        """The file's object, without its hash."""
        tree = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        return tree if self.train else {key: value for key, value in tree.items() if key != "train"}

    def training(self) -> "Panel":
        """The panel to train on: `train` as a panel of its own where there is one, else this one."""
        return self._but(name=f"{self.name}/train", tasks=self.train, train=()) if self.train else self

    def beside(self, train: tuple[PanelTask, ...]) -> "Panel":
        """The panel that says to train on `train`, sorted tasks of which it has none itself."""
        return self._but(train=train)

    def subset(self, ids: Set[str]) -> "Panel":
        """The panel of some of its tasks, at least one: another panel, with a hash and a name of its own."""
        kept = tuple(task for task in self.tasks if task.id in ids)
        name = f"{self.name} ({len(kept)} of {len(self.tasks)})"
        return self if kept == self.tasks else self._but(name=name, tasks=kept, train=())

    def within(self, max_steps: int) -> "Panel":
        """The panel under a step limit of its own: another panel unless it is this one's."""
        if max_steps == self.max_steps:
            return self
        return self._but(name=f"{self.name} ({max_steps} steps)", max_steps=max_steps)

    def _but(self, **changes: object) -> "Panel":
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return Panel.model_validate({**fields, **changes})


def overlap(one: Iterable[PanelTask], other: Iterable[PanelTask]) -> str | None:
    """Id of a task of `one` that is in `other` too, by id or by content; None if there is none."""
    ids, hashes = set(), set()
    for task in other:
        ids.add(task.id)
        hashes |= {task.sha256, task.content_sha256 or task.sha256}
    return next(
        (task.id for task in one if task.id in ids or task.sha256 in hashes or task.content_sha256 in hashes), None
    )


def dump_panel(panel: Panel, *, compress: bool = False) -> bytes:
    """The bytes of a panel file."""
    data = _canonical({**panel.document(), _HASH: panel.sha256}) + b"\n"
    return gzip.compress(data, compresslevel=9, mtime=0) if compress else data


def parse_panel(data: bytes, source: str) -> Panel:
    """Read a panel file, compressed or not. `source` names it in errors. Raises `DataError`."""
    try:
        document = json.loads(gzip.decompress(data) if data.startswith(_GZIP_MAGIC) else data)
        if not isinstance(document, dict):
            raise ValueError("it is not a JSON object")
        stated = document.pop(_HASH, None)
        panel = Panel.model_validate(document)
    except ValidationError as error:
        raise DataError(f"{source}: not a panel: {_explain(error)}", _MAKE_ANOTHER) from error
    except (ValueError, EOFError, OSError, zlib.error) as error:
        raise DataError(f"{source}: not a panel: {error}", _MAKE_ANOTHER) from error
    if stated != panel.sha256:
        found = f"its {_HASH} is {stated}" if stated else f"it has no {_HASH}"
        raise DataError(
            f"{source}: changed after it was made: {found}, its content gives {panel.sha256}", _MAKE_ANOTHER
        )
    return panel


def first_difference(one: Panel, other: Panel) -> str:
    """What differs first between two panels, in words; empty for equal ones."""
    before, after = one.document(), other.document()
    for field in ("env", "data", "max_steps"):
        if before[field] != after[field]:
            return f"{field}: {before[field]} and {after[field]}"
    return _first_task(one.tasks, other.tasks) or _first_task(one.train, other.train)


def _first_task(one: Sequence[PanelTask], other: Sequence[PanelTask]) -> str:
    before, after = ({task.id: task for task in tasks} for tasks in (one, other))
    for task_id in sorted(before.keys() | after.keys()):
        left, right = before.get(task_id), after.get(task_id)
        if left is None or right is None:
            return f"{task_id} is in {'the second' if left is None else 'the first'} only"
        if left != right:
            pair = left.model_dump(), right.model_dump()
            field = next(name for name in pair[0] if pair[0][name] != pair[1][name])
            return f"{task_id}: {field} {pair[0][field]} and {pair[1][field]}"
    return ""


def _canonical(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _hash_of(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical(document)).hexdigest()


def _explain(error: ValidationError) -> str:
    first, *others = error.errors()
    where = ".".join(str(part) for part in first["loc"])
    text = f"{where + ': ' if where else ''}{first['msg'].removeprefix('Value error, ')}"
    return f"{text}, and {len(others)} more" if others else text
