"""The session table against a model that knows nothing but the promises in its docstring."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from hiper.envs.base import EpisodeOver, StepResult
from hiper.errors import DataError
from hiper.rpc.reasons import EnvReason
from services.env_server.refusals import Refusal
from services.env_server.sessions import MAX_ACTION_BYTES, Answer, SessionSpec, SessionTable

LEASE_S = 10.0
MAX_SESSIONS = 3
LENGTH = 4


class Diary:
    """An episode that shows every action it was given, so that an action played twice is seen."""

    def __init__(self, task: str) -> None:
        self._task = task
        self._played: list[str] = []

    @property
    def steps(self) -> int:
        return len(self._played)

    def reset(self) -> StepResult:
        self._played = []
        return self._show()

    def step(self, action: str) -> StepResult:
        if len(self._played) == LENGTH:
            raise EpisodeOver(LENGTH)
        self._played.append(action)
        return self._show()

    def _show(self) -> StepResult:
        text = "|".join([self._task, *self._played])
        return StepResult(observation=text, admissible=("a", "b"), terminated=len(self._played) == LENGTH)


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def make_table(clock: Clock) -> SessionTable:
    def open_episode(spec: SessionSpec) -> Diary:
        if spec.task_id == "missing":
            raise DataError("no such task")
        return Diary(spec.task_id)

    return SessionTable(open_episode, max_sessions=MAX_SESSIONS, lease_s=LEASE_S, clock=clock)


def spec(session_id: str, task_id: str = "t") -> SessionSpec:
    return SessionSpec(session_id, task_id, seed=0, max_steps=0)


def reason(outcome: Answer | Refusal | None) -> EnvReason | None:
    return outcome.reason if isinstance(outcome, Refusal) else None


IDS = st.sampled_from(["s0", "s1", "s2", "s3", "s4"])
ACTIONS = st.sampled_from(["a", "b"])


class TableAgainstModel(RuleBasedStateMachine):
    """The model: per live id its task, the actions played since the reset (None before it), the time it was touched."""

    tasks: Bundle[str] = Bundle("tasks")

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.table = make_table(self.clock)
        self.live: dict[str, list[object]] = {}

    @rule(target=tasks)
    def name_tasks(self) -> object:
        return multiple("t", "u")

    @rule(session_id=IDS, task=tasks)
    def create(self, session_id: str, task: str) -> None:
        outcome = reason(self.table.create(spec(session_id, task)))
        if session_id in self.live:
            same = self.live[session_id][0] == task
            assert outcome is (None if same else EnvReason.SESSION_EXISTS)
            if same:
                self.live[session_id][2] = self.clock.now_s
            return
        if len(self.live) >= MAX_SESSIONS:
            self.expire()
        if len(self.live) >= MAX_SESSIONS:
            assert outcome is EnvReason.SESSIONS_FULL
        else:
            assert outcome is None
            self.live[session_id] = [task, None, self.clock.now_s]

    @rule(session_id=IDS)
    def reset(self, session_id: str) -> None:
        outcome = self.table.reset(session_id)
        if session_id not in self.live:
            assert reason(outcome) is EnvReason.UNKNOWN_SESSION
            return
        self.live[session_id][1:] = [[], self.clock.now_s]
        self.check(outcome, session_id, 0)

    @rule(session_id=IDS, offset=st.sampled_from([-2, -1, 0, 0, 1, 1, 1, 1, 2]), action=ACTIONS)
    def step(self, session_id: str, offset: int, action: str) -> None:
        if session_id not in self.live:
            assert reason(self.table.step(session_id, 1, action)) is EnvReason.UNKNOWN_SESSION
            return
        self.live[session_id][2] = self.clock.now_s
        played = self.live[session_id][1]
        if played is None:
            assert reason(self.table.step(session_id, 1, action)) is EnvReason.NOT_RESET
            return
        assert isinstance(played, list)
        index = max(len(played) + offset, 0)
        outcome = self.table.step(session_id, index, action)
        if index == len(played) and index > 0:
            if action == played[-1]:
                self.check(outcome, session_id, index)
            else:
                assert reason(outcome) is EnvReason.ACTION_DIFFERS
        elif index != len(played) + 1:
            assert reason(outcome) is EnvReason.STEP_INDEX
        elif len(played) == LENGTH:
            assert reason(outcome) is EnvReason.EPISODE_OVER
        else:
            played.append(action)
            self.check(outcome, session_id, index)

    @rule(session_id=IDS)
    def close(self, session_id: str) -> None:
        assert self.table.close(session_id) is (self.live.pop(session_id, None) is not None)

    @rule(seconds=st.sampled_from([0.5, 4.0, 10.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now_s += seconds

    @rule()
    def reap(self) -> None:
        before = len(self.live)
        self.expire()
        assert self.table.reap() == before - len(self.live)

    @invariant()
    def same_size(self) -> None:
        assert len(self.table) == len(self.live) <= MAX_SESSIONS

    def expire(self) -> None:
        now = self.clock.now_s
        self.live = {key: entry for key, entry in self.live.items() if now - float(str(entry[2])) < LEASE_S}

    def check(self, outcome: Answer | Refusal, session_id: str, index: int) -> None:
        task, played, _ = self.live[session_id]
        assert isinstance(outcome, Answer)
        assert isinstance(played, list)
        assert outcome.step_index == index
        assert outcome.result.observation == "|".join([str(task), *played])


TestTableAgainstModel = TableAgainstModel.TestCase
TestTableAgainstModel.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_a_task_that_cannot_be_opened_takes_no_place() -> None:
    table = make_table(Clock())
    with pytest.raises(DataError):
        table.create(spec("s", "missing"))
    assert len(table) == 0


@pytest.mark.parametrize("session_id", ["", "x" * 257])
def test_ids_have_bounds(session_id: str) -> None:
    assert reason(make_table(Clock()).create(spec(session_id))) is EnvReason.BAD_SESSION_ID


def test_an_action_one_byte_too_long_is_refused_and_changes_nothing() -> None:
    table = make_table(Clock())
    table.create(spec("s"))
    table.reset("s")
    assert reason(table.step("s", 1, "é" * (MAX_ACTION_BYTES // 2) + "x")) is EnvReason.ACTION_TOO_LONG
    assert isinstance(table.step("s", 1, "é" * (MAX_ACTION_BYTES // 2)), Answer)


def test_a_full_table_says_when_the_oldest_lease_ends() -> None:
    clock = Clock()
    table = make_table(clock)
    for number in range(MAX_SESSIONS):
        table.create(spec(str(number)))
    clock.now_s = LEASE_S - 0.25
    refusal = table.create(spec("late"))
    assert isinstance(refusal, Refusal)
    assert refusal.retry_after_s == pytest.approx(0.25)
    assert refusal.status().retry_after_seconds == pytest.approx(0.25)
    clock.now_s += refusal.retry_after_s
    assert table.create(spec("late")) is None


def test_a_thousand_leaked_sessions_are_reaped() -> None:
    clock = Clock()
    table = SessionTable(lambda s: Diary(s.task_id), max_sessions=1000, lease_s=LEASE_S, clock=clock)
    for number in range(1000):
        assert table.create(spec(str(number))) is None
    clock.now_s = LEASE_S
    assert table.reap() == 1000
    assert len(table) == 0
