"""An environment of your own: rooms in a row, a key in one of them, a locked door in another.

Play it, or name it in a run's configuration, with this folder on PYTHONPATH:

    PYTHONPATH=examples hiper env play --env key_and_door:KeyAndDoor --task valid/1-5

env: {name: "key_and_door:KeyAndDoor", options: {rooms: 12}}
"""

from hiper.envs.custom import Play, StepResult, TextEnvironment


class KeyAndDoor(TextEnvironment):
    """A task is `<split>/<room of the key>-<room of the door>`; no pair of rooms is in both splits."""

    env = "key-and-door"

    def __init__(self, rooms: int = 8) -> None:
        self.rooms, self.version = rooms, f"1-{rooms}"  # what options change belongs to the version

    def tasks(self) -> dict[str, list[str]]:
        """Every pair of rooms, in one of two splits."""
        found: dict[str, list[str]] = {"train": [], "valid": []}
        for key in range(1, self.rooms):
            for door in range(1, self.rooms):
                split = "valid" if (key + door) % 3 == 0 else "train"
                found[split].append(f"{split}/{key}-{door}")
        return found

    def play(self, task: str, seed: int) -> Play:  # noqa: ARG002
        """Nothing is left to chance here, so the seed changes nothing."""
        key, door = map(int, task.partition("/")[2].split("-"))
        here, held = 0, False
        said = f"Your task is to: open the door in room {door}; its key is in another room.\n"
        while True:
            offered = {"go left": here > 0, "go right": here < self.rooms - 1, "look": True}
            offered |= {"take key": here == key and not held, "open door": here == door and held}
            seen = "You see a key." if here == key and not held else "You see a door." if here == door else ""
            actions = tuple(name for name, possible in offered.items() if possible)
            action = yield StepResult(f"{said}You are in room {here}. {seen}".strip(), actions)
            said = "" if offered.get(action) else "Nothing happens. "
            match action if offered.get(action) else "nothing":
                case "go left":
                    here -= 1
                case "go right":
                    here += 1
                case "take key":
                    held = True
                case "open door":
                    yield StepResult("The door is open.", (), reward=1.0, terminated=True, won=True, score=1.0)
