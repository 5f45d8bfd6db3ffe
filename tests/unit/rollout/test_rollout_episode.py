import numpy as np
import pytest
from rollout_fakes import ScriptedEngine, ScriptedEnv, player, task, text_of

from hiper._proto.trajectory.v1.trajectory_pb2 import Turn
from hiper.errors import DataError, HiperError, IntegrityError, RemoteError
from hiper.metrics import render
from hiper.plan_execute import render_response
from hiper.vocabulary import Abandonment, PolicyVersion, Switch
from services.rollout.engine import EngineDead, Generation, RequestRefused, Sampling

OPEN = render_response(Switch.SWITCH, "open it", "open box")
KEEP_OTHER = render_response(Switch.KEEP, "something else", "look")


def block(turn: Turn, name: str) -> str:
    span = getattr(turn, f"{name}_span")
    return text_of(turn.response_ids[4 * span.start : 4 * span.end])


async def test_a_turn_is_recorded_whole() -> None:
    engine, env = ScriptedEngine([OPEN]), ScriptedEnv(length=1)
    engine.version = PolicyVersion(3)
    of = task(seed=9)
    trajectory = await player(engine, env).play(of)

    assert trajectory.task == of
    assert (trajectory.task_type, trajectory.split, trajectory.producer) == ("open_box", "train", "rollout-0")
    assert (trajectory.outcome.won, trajectory.outcome.terminated, trajectory.outcome.truncated) == (True, True, False)
    assert trajectory.outcome.score == 1.0
    assert trajectory.next_prompt_ids == b""
    (turn,) = trajectory.turns
    _, prompt_ids, sampling = engine.calls[0]
    assert np.frombuffer(turn.prompt_ids, "<i4").tolist() == prompt_ids
    assert text_of(turn.response_ids) == OPEN
    assert turn.response_ids.endswith(bytes(4)), "the end-of-sequence token is kept"
    assert np.frombuffer(turn.response_logprobs, "<f4").tolist() == [-0.25 * (i + 1) for i in range(len(OPEN) + 1)]
    assert (turn.policy_version_start, turn.policy_version_end, turn.stop_reason) == (3, 3, "stop")
    assert block(turn, "switch") == "<switch>SWITCH</switch>"
    assert block(turn, "subgoal") == "<subgoal>open it</subgoal>"
    assert block(turn, "action") == "<action>open box</action>"
    assert turn.value_low_position == turn.subgoal_span.end
    assert (turn.is_switch, turn.valid, turn.action_admissible, turn.subgoal_consistent) == (True, True, True, True)
    assert (turn.subgoal, turn.action) == ("open it", "open box")
    assert turn.observation.startswith("You see a box 0")
    assert turn.env_reward == 1.0
    assert (sampling.temperature, sampling.max_tokens) == (of.temperature, 100)
    assert not env.open_sessions


async def test_a_prompt_shows_task_history_observation_and_subgoal() -> None:
    engine = ScriptedEngine([OPEN])
    await player(engine, ScriptedEnv(length=3)).play(task())
    prompts = ["".join(map(chr, ids)) for _, ids, _ in engine.calls]
    assert "|goal none" in prompts[0]
    assert "|hist" not in prompts[0]
    assert "|goal open it" in prompts[2]
    assert "|hist You see a box 1" in prompts[2]
    assert "|act open box" in prompts[2]
    assert "|obs You see a box 2" in prompts[2]
    assert all("|task open the box." in prompt for prompt in prompts)


async def test_keep_is_enforced() -> None:
    engine = ScriptedEngine([OPEN, KEEP_OTHER, KEEP_OTHER])
    trajectory = await player(engine, ScriptedEnv(length=3)).play(task())
    assert [turn.subgoal for turn in trajectory.turns] == ["open it"] * 3
    assert [turn.subgoal_consistent for turn in trajectory.turns] == [True, False, False]
    assert [turn.is_switch for turn in trajectory.turns] == [True, False, False]
    assert "|goal open it" in "".join(map(chr, engine.calls[2][1]))


async def test_keep_is_trusted_where_it_is_told_to() -> None:
    trajectory = await player(ScriptedEngine([OPEN, KEEP_OTHER]), ScriptedEnv(length=2), keep="trust").play(task())
    assert trajectory.turns[1].subgoal == "something else"


async def test_truncation_records_the_prompt_that_would_have_come_next() -> None:
    trajectory = await player(ScriptedEngine([OPEN]), ScriptedEnv(length=99)).play(task(max_steps=3))
    assert len(trajectory.turns) == 3
    assert (trajectory.outcome.terminated, trajectory.outcome.truncated, trajectory.outcome.won) == (False, True, False)
    following = text_of(trajectory.next_prompt_ids)
    assert "|obs You see a box 3" in following
    assert "|goal open it" in following
    assert "|hist You see a box 2" in following


async def test_a_malformed_response_is_played_and_marked() -> None:
    trajectory = await player(ScriptedEngine(["I would rather not"]), ScriptedEnv(length=1)).play(task())
    (turn,) = trajectory.turns
    assert (turn.valid, turn.is_switch, turn.action_admissible) == (False, False, False)
    assert turn.action == "i would rather not"
    assert not turn.HasField("switch_span")
    assert not turn.HasField("action_span")
    assert b'hiper_rollout_format_errors_total{field="action_missing"}' in render()


async def test_the_environment_gets_the_panels_seed_and_the_sampler_its_own() -> None:
    env = ScriptedEnv(length=1)
    await player(ScriptedEngine([OPEN]), env).play(task(seed=9, env_seed=5))
    assert env.seeds == [5]


async def test_sampling_seeds_are_a_function_of_task_and_turn() -> None:
    async def seeds(seed: int) -> list[int]:
        engine = ScriptedEngine([OPEN])
        await player(engine, ScriptedEnv(length=3)).play(task(seed=seed))
        return [sampling.seed for _, _, sampling in engine.calls]

    first, again, other = await seeds(1), await seeds(1), await seeds(2)
    assert first == again
    assert len({*first, *other}) == 6
    assert all(0 <= seed < 2**63 for seed in first)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (ScriptedEnv(fail_open=DataError("game.z8 is corrupt")), Abandonment.ENVIRONMENT),
        (ScriptedEnv(fail_open=RemoteError("no env server")), Abandonment.ENVIRONMENT),
        (ScriptedEnv(fail_step=IntegrityError("replay differs")), Abandonment.ENVIRONMENT),
        (ScriptedEnv(observation="long " * 200), Abandonment.PROMPT_TOO_LONG),
    ],
    ids=["corrupt game", "no server", "replay differs", "prompt too long"],
)
async def test_what_cannot_be_played_is_published_with_its_reason(broken: ScriptedEnv, reason: Abandonment) -> None:
    of = task()
    trajectory = await player(ScriptedEngine([OPEN]), broken).play(of)
    assert trajectory.outcome.abandoned == reason
    assert trajectory.outcome.error
    assert trajectory.task == of
    assert not trajectory.turns
    assert not broken.open_sessions


async def test_a_refused_request_abandons_its_episode_only() -> None:
    engine, env = ScriptedEngine([OPEN]), ScriptedEnv()
    doomed, fine = task(0), task(1)
    engine.failures[doomed.trajectory_id] = RequestRefused("too long")
    playing = player(engine, env)
    assert (await playing.play(doomed)).outcome.abandoned == Abandonment.ENGINE
    assert (await playing.play(fine)).outcome.won
    assert not env.open_sessions


async def test_a_dead_engine_is_the_process_s_business() -> None:
    engine, env = ScriptedEngine(), ScriptedEnv()
    engine.failures[task().trajectory_id] = EngineDead("gone")
    with pytest.raises(EngineDead):
        await player(engine, env).play(task())
    assert not env.open_sessions


async def test_history_gives_way_before_the_episode_does() -> None:
    engine = ScriptedEngine([OPEN])
    long = ScriptedEnv(length=2, observation="x" * 150 + " {step}. Your task is to: open the box.")
    trajectory = await player(engine, long, sampling={"max_prompt_tokens": 270}).play(task())
    assert len(trajectory.turns) == 2, trajectory.outcome
    assert all(len(ids) <= 270 for _, ids, _ in engine.calls)
    assert "|hist" not in text_of(trajectory.turns[1].prompt_ids)


async def test_versions_across_a_swap_are_recorded_per_turn() -> None:
    class Swapping(ScriptedEngine):
        async def generate(self, prompt_ids: list[int], sampling: Sampling, request_id: str) -> Generation:
            began = self.version
            self.version = PolicyVersion(began + 1)
            made = await super().generate(prompt_ids, sampling, request_id)
            return Generation(made.token_ids, made.logprobs, made.stop_reason, began, self.version)

    trajectory = await player(Swapping([OPEN]), ScriptedEnv(length=2)).play(task())
    assert [(t.policy_version_start, t.policy_version_end) for t in trajectory.turns] == [(0, 1), (1, 2)]


def test_refusals_are_errors_a_person_can_read() -> None:
    assert issubclass(RequestRefused, HiperError)
    assert EngineDead("x").exit_code == 3
