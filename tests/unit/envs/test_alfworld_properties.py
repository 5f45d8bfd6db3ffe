"""Laws of every ALFWorld episode, over generated games and random players."""

from hypothesis import given, settings
from hypothesis import strategies as st

from hiper.envs.alfworld.engine import AlfworldEpisode
from hiper.envs.alfworld.generator import generate_game
from hiper.envs.alfworld.layout import MAX_SIZE, MIN_SIZE, GameSpec
from hiper.envs.alfworld.model import TaskType
from hiper.envs.base import StepResult

specs = st.builds(
    GameSpec,
    size=st.integers(MIN_SIZE, MAX_SIZE),
    task_type=st.sampled_from(list(TaskType)),
    seed=st.integers(0, 2**63),
)
# A number picks one of the admissible commands, a text is sent as it is.
moves = st.lists(st.integers(0, 2**16) | st.text(max_size=30), max_size=60)


def play(episode: AlfworldEpisode, choices: list[int | str]) -> tuple[list[str], list[StepResult]]:
    result = episode.reset()
    actions, results = [], [result]
    for choice in choices:
        if result.done:
            break
        action = choice if isinstance(choice, str) else result.admissible[choice % len(result.admissible)]
        result = episode.step(action)
        actions.append(action)
        results.append(result)
    return actions, results


@settings(max_examples=60, deadline=None)
@given(specs, moves)
def test_any_play_keeps_the_laws_of_an_episode(spec: GameSpec, choices: list[int | str]) -> None:
    game = generate_game(spec)
    actions, results = play(AlfworldEpisode(game, 50), choices)
    for before, action, after in zip(results, actions, results[1:], strict=False):
        assert after.admissible
        assert list(after.admissible) == sorted(set(after.admissible))
        assert after.action_valid == (action.strip() in before.admissible)
        assert (after.observation == "Nothing happens.") == (not after.action_valid)
        assert not (after.terminated and after.truncated)
        assert after.terminated == after.won == (after.score == 1.0) == (after.reward == 1.0)
        if not after.action_valid:
            assert after.admissible == before.admissible
    assert all(not result.done for result in results[:-1])

    replayed = AlfworldEpisode(game, 50)
    assert [replayed.reset(), *(replayed.step(action) for action in actions)] == results


@settings(max_examples=30, deadline=None)
@given(specs, moves, st.lists(st.text(max_size=20), max_size=60))
def test_refused_actions_leave_no_trace_in_what_follows(
    spec: GameSpec, choices: list[int | str], noise: list[str]
) -> None:
    game = generate_game(spec)
    actions, results = play(AlfworldEpisode(game, 0), [choice for choice in choices if isinstance(choice, int)])
    disturbed = AlfworldEpisode(game, 0)
    answers = []
    for i, action in enumerate(actions):
        if i < len(noise):
            assert disturbed.step(f"!{noise[i]}").action_valid is False
        answers.append(disturbed.step(action))
    assert answers == results[1:]


@settings(max_examples=60, deadline=None)
@given(specs, moves)
def test_the_goal_seen_from_outside_agrees_with_the_engine(spec: GameSpec, choices: list[int | str]) -> None:
    """A second opinion on winning, from the texts of a full inspection instead of the engine's facts."""
    game = generate_game(spec)
    if game.task_type not in (TaskType.PLACE, TaskType.TWO):
        return
    episode = AlfworldEpisode(game, 0)
    actions, results = play(episode, [*choices, *range(40)])
    won = results[-1].won
    inspection = AlfworldEpisode(game, 0)
    for action in actions[:-1] if won else actions:
        inspection.step(action)
    last = actions[-1] if won and actions else ""
    needed = 2 if game.task_type == TaskType.TWO else 1
    wanted = {game.items[i].name for i in game.goal.items}
    counts = []
    for r in sorted(game.goal.receptacles):
        name = game.receptacles[r].name
        for command in (f"go to {name}", f"open {name}"):
            inspection.step(command)
        seen = inspection.step(f"examine {name}").observation
        inside = {item for item in wanted if f"a {item}," in seen or f"a {item}." in seen}
        moved = {last.split(" to ")[0].removeprefix("move ")} if last.endswith(f" to {name}") else set()
        counts.append(len(inside | (moved & wanted)))
    assert won == any(count >= needed for count in counts)
