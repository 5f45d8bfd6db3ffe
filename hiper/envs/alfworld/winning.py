"""When a game is won: the six goals of ALFWorld (spec 1.7) and the chains of horizon games (spec 6.1).

A goal can only become true through a command that adds one of its facts, so it is evaluated after those alone, and for
the thing that changed alone.

In a chain, sub-goal n+1 counts as reached by a command that makes it true after sub-goal n was reached; what was done
too early has to be done again. The game is won when all sub-goals have been reached and all are true.
"""

from hiper.envs.alfworld.facts import Facts
from hiper.envs.alfworld.model import ChainGoal, Game, Goal, SubGoal, TaskType

__all__ = ["won_by_light", "won_by_placing", "won_from_the_start"]


def won_by_light(goal: Goal | ChainGoal, facts: Facts) -> bool:
    """Whether `goal` is true after a change of place, hands or lamps."""
    if not isinstance(goal, Goal) or goal.task_type is not TaskType.LIGHT:
        return False
    if facts.held is None or facts.held.index not in goal.items:
        return False
    lit = goal.lamps & facts.toggled
    return bool(lit) and any(not lit.isdisjoint(facts.contents[r.index]) for r in facts.here.receptacles)


def won_by_placing(goal: Goal | ChainGoal, facts: Facts, item: int) -> bool:
    """Whether `goal` is true after `item` was put somewhere or treated. Keeps the order facts of a chain."""
    if isinstance(goal, ChainGoal):
        return _advance(goal, facts, item)
    if goal.task_type is TaskType.LIGHT or item not in goal.items or not _treated(goal.task_type, facts, item):
        return False
    needed = 2 if goal.task_type is TaskType.TWO else 1
    return any(
        item in found and sum(other in goal.items for other in found) >= needed
        for found in (facts.contents[r] for r in goal.receptacles)
    )


def won_from_the_start(game: Game) -> bool:
    """Whether the goal holds before the first command.

    A goal about light cannot, because nothing is held then; nor a chain, because none of it has been reached.
    """
    goal, facts = game.goal, Facts(game)
    return isinstance(goal, Goal) and any(won_by_placing(goal, facts, o) for o in goal.items)


def _treated(task_type: TaskType, facts: Facts, item: int) -> bool:
    match task_type:
        case TaskType.CLEAN:
            return item in facts.clean
        case TaskType.HEAT:
            return item in facts.hot
        case TaskType.COOL:
            return item in facts.cool
        case _:
            return True


def _advance(goal: ChainGoal, facts: Facts, item: int) -> bool:
    chain = goal.subgoals
    if facts.reached < len(chain):
        awaited = chain[facts.reached]
        if awaited.item == item and _holds(awaited, facts):
            facts.reached += 1
    return facts.reached == len(chain) and all(_holds(subgoal, facts) for subgoal in chain)


def _holds(subgoal: SubGoal, facts: Facts) -> bool:
    return subgoal.item in facts.contents[subgoal.receptacle] and _treated(subgoal.treatment, facts, subgoal.item)
