"""A reward term of your own. Put its folder on PYTHONPATH and name it in the run's configuration:

reward:
  terms:
    repetition: {path: "reward_term:repetition", weight: 0.05, options: {window: 4}}
"""

from hiper.rewards import TrajectoryView


def repetition(trajectory: TrajectoryView, *, window: int = 3) -> list[float]:
    """-1 on every turn whose action was already sent within the last `window` turns, else 0."""
    actions = [turn.action for turn in trajectory.turns]
    return [-float(action in actions[max(0, at - window) : at]) for at, action in enumerate(actions)]
