"""The file form `hiper hae compute` reads: what a case is, checked field by field.

Fields as in the golden vectors of the method. Beyond them a row may carry what the newer modes need: `truncated`,
`v_next` (value of the observation a truncated episode would have shown next, on its last row), and for the paper mode
`v_low_previous` and `switch_probability`. `expected` and other extra fields of a case or row are ignored; an unknown
key of `cfg` is refused, because a misspelt setting would change the numbers silently.
"""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from hiper.advantages.hae import CriticHeads
from hiper.errors import DataError

__all__ = ["Case", "CaseConfig", "CaseRow", "read_cases"]

_Index = Annotated[int, Field(ge=0)]
_Share = Annotated[FiniteFloat, Field(ge=0, le=1)]
_Span = tuple[_Index, _Index] | None
_HINT = "the fields are described in the golden vectors' README and in `hiper hae compute --help`"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


class CaseConfig(_Part):
    """Settings of one case."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    gamma: _Share
    lam_turn: _Share
    lam_seg: _Share
    norm_adv: bool = False
    bootstrap_truncated: bool = False
    keep_penalty: Annotated[FiniteFloat, Field(le=0)] = 0.0
    keep_penalty_mode: Literal["fixed", "normalized"] = "fixed"
    invalid_action_penalty_coef: Annotated[FiniteFloat, Field(ge=0)] = 0.0
    keep_consistency_penalty: Annotated[FiniteFloat, Field(le=0)] = 0.0
    keep_consistency_requires_both: bool = True
    assign_high_to_switch: bool = False
    assign_high_to_subgoal: bool = True
    assign_term_to_switch: bool = True


class CaseRow(_Part):
    """One turn."""

    traj: int | str
    turn: int
    switch: bool
    reward: FiniteFloat
    done: bool
    valid: bool = True
    resp_len: _Index
    switch_span: _Span = None
    subgoal_span: _Span = None
    action_span: _Span = None
    """None = the tag is missing: the whole response is the action."""
    v_low: FiniteFloat
    v_high: FiniteFloat | None = None
    v_term: FiniteFloat | None = None
    subgoal_tokens: tuple[int, ...] = ()
    truncated: bool | None = None
    """None = the row is not `done`; read on the last row of a trajectory."""
    v_next: FiniteFloat | None = None
    v_low_previous: FiniteFloat | None = None
    switch_probability: _Share | None = None

    @model_validator(mode="after")
    def _spans_are_ranges(self) -> "CaseRow":
        for name in ("switch_span", "subgoal_span", "action_span"):
            span = getattr(self, name)
            if span is not None and span[1] < span[0]:
                raise ValueError(f"{name} [{span[0]}, {span[1]}) is not a range")
        return self


class Case(_Part):
    """One batch with its settings."""

    name: str
    heads: CriticHeads
    response_width: _Index
    cfg: CaseConfig
    rows: tuple[CaseRow, ...]

    @model_validator(mode="after")
    def _rows_fit_the_case(self) -> "Case":
        for index, row in enumerate(self.rows):
            if row.v_term is None and self.heads is CriticHeads.THREE:
                raise ValueError(f"rows[{index}].v_term is missing, but the critic has a switch head")
            if row.resp_len > self.response_width:
                raise ValueError(f"rows[{index}].resp_len {row.resp_len} exceeds response_width {self.response_width}")
        return self


def read_cases(path: Path) -> list[Case]:
    """Read and check a cases file.

    Raises:
        DataError: the file cannot be read, or a field is missing or wrong; names the file, the case and the field.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}", "give --input a file of cases") from error
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}", _HINT) from error
    cases = document.get("cases") if isinstance(document, dict) else None
    if not isinstance(cases, list):
        raise DataError(f"{path} has no list 'cases'", _HINT)
    return [_case(entry, index, path) for index, entry in enumerate(cases)]


def _case(entry: Any, index: int, path: Path) -> Case:
    named = isinstance(entry, dict) and isinstance(entry.get("name"), str)
    label = f"case '{entry['name']}'" if named else f"cases[{index}]"
    try:
        return Case.model_validate(entry)
    except ValidationError as error:
        first = error.errors()[0]
        field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
        where = f"{label}, {field}" if field else label
        raise DataError(f"{path}: {where}{_turn(entry, first['loc'])}: {first['msg']}", _HINT) from error


def _turn(entry: Any, location: tuple[int | str, ...]) -> str:
    """Trajectory and turn of the row a fault is in, as the file names them; empty where there is no such row."""
    try:
        _, index, *_ = location
        row = entry["rows"][index]
        return f" (trajectory {row['traj']}, turn {row['turn']})"
    except (ValueError, TypeError, KeyError, IndexError):
        return ""
