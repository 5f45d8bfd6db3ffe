"""Which version of ALFWorld's rules and texts a game file carries (spec 1.2), and the two texts taken from its grammar.

Wordings differ between versions and make results incomparable, so a version that is not known here is refused by name.
"""

import hashlib
import json
import re
from dataclasses import dataclass

__all__ = [
    "SYNTHETIC",
    "Texts",
    "UnknownVersionError",
    "fingerprint",
    "read_texts",
    "replace_task",
    "sha256_hex",
    "synthetic_grammar",
]

SYNTHETIC = "synthetic"
"""Version of generated games: the rules and texts of 2.1.2, an empty domain text and a two-entry grammar."""

_UNKNOWN_TASK = "Your task is to: UNKNOWN GOAL."
_KNOWN = {
    (
        "0af55e7f92d12b09d28515aa730e4d03fddd17228ef1fd7b18a3ee8ba49b27b9",
        "cce0702cd250cc6af6c3ea047a21f6c4c1c8d29a1739efefb5221ef4c3dcac57",
    ): "2.1.2",
}
_DOMAIN_213 = "f1473041ed01da514de1f87adfd7ef0804862361f83ccf63c75e43633b0eb280"
_TASK = re.compile(r'"task"\s*:\s*\[\s*\{\s*"rhs"\s*:\s*("(?:[^"\\]|\\.)*")')
_HELP = re.compile(r'action help \{.*?feedback :: "([^"]*)";', re.DOTALL)


class UnknownVersionError(ValueError):
    """The texts are not those of a version this engine plays. `version` names it where it is known."""

    def __init__(self, message: str, version: str) -> None:
        super().__init__(message)
        self.version = version


@dataclass(frozen=True, slots=True)
class Texts:
    """What the engine needs from a game's grammar."""

    version: str
    task: str
    help: str


def sha256_hex(text: str) -> str:
    """Hexadecimal sha256 of the UTF-8 bytes of `text`."""
    return hashlib.sha256(text.encode()).hexdigest()


def synthetic_grammar(task: str, help_text: str) -> str:
    """The grammar field of a generated game: task sentence and help text, where the original has them."""
    rules = json.dumps({"task": [{"rhs": task}]})
    return (
        f'grammar :: """{rules}""";\n\naction help {{\n    template :: "help";\n    feedback :: "\n{help_text}";\n}}\n'
    )


def read_texts(domain: str, grammar: str) -> Texts:
    """Detect the version and take out task sentence and help text. Raises `ValueError` naming an unknown version."""
    task, version = _find_task(grammar), _version(domain, grammar)
    help_text = _HELP.search(grammar)
    if help_text is None:
        raise ValueError("its grammar has no help text")
    return Texts(version, str(json.loads(task[1])), help_text[1].removeprefix("\n"))


def fingerprint(domain: str, grammar: str) -> tuple[str, str]:
    """sha256 of the domain text, and of the grammar with an unknown task sentence: the same in all games of a version.

    Raises `ValueError` for a grammar without a task sentence.
    """
    return sha256_hex(domain), sha256_hex(replace_task(grammar, _UNKNOWN_TASK))


def replace_task(grammar: str, task: str) -> str:
    """The grammar with another task sentence. Raises `ValueError` for a grammar without one."""
    found = _find_task(grammar)
    return grammar[: found.start(1)] + json.dumps(task) + grammar[found.end(1) :]


def _find_task(grammar: str) -> re.Match[str]:
    task = _TASK.search(grammar)
    if task is None:
        raise ValueError("its grammar has no task sentence")
    return task


def _version(domain: str, grammar: str) -> str:
    if not domain.strip():
        return SYNTHETIC
    found = fingerprint(domain, grammar)
    if version := _KNOWN.get(found):
        return version
    if "in/on the {r.name}" in grammar.split('"PutObject.feedback"')[-1][:200] or "action help" not in grammar:
        raise UnknownVersionError("its texts are those of ALFWorld 2.1.1, which this engine does not speak", "2.1.1")
    if found[0] == _DOMAIN_213:
        raise UnknownVersionError(
            "its rules are those of ALFWorld 2.1.3, which this engine has not been compared with", "2.1.3"
        )
    hashes = f"domain sha256 {found[0][:12]}, grammar {found[1][:12]}"
    raise UnknownVersionError(f"its version of ALFWorld is unknown ({hashes})", f"unknown: {hashes}")
