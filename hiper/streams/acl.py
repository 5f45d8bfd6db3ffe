"""One broker user per service, with the commands and keys it needs and no others (spec/streams.md, 2).

The commands of a script are read from the script itself, so the two cannot drift apart. Keys named in a script's KEYS
need full access; nobody may flush or configure the server, or see another run.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from hiper.errors import ConfigError
from hiper.streams import scripts
from hiper.streams.keys import Keys

__all__ = ["USERS", "acl_file", "acl_rules"]

_CALL = re.compile(r"redis\.p?call\('([A-Z]+)'(?:, '([A-Z]+)')?")
_CONTAINERS = frozenset({"XGROUP", "XINFO"})
"""Commands whose first word in capitals is a subcommand of its own right."""
_CONNECTION = (
    *("auth", "hello", "ping", "info", "select", "time", "get", "eval", "evalsha"),
    "client|setname",
)
_CONSUMER = ("claim", "touch", "deliveries", "dead_letter")


@dataclass(frozen=True, slots=True)
class _Access:
    """What one user does."""

    scripts: tuple[str, ...]
    commands: tuple[str, ...]
    keys: tuple[str, ...]
    """Names below the run, `*` for any rest."""


USERS: Mapping[str, _Access] = {
    "rollout": _Access(
        ("publish", "ack", *_CONSUMER),
        ("xreadgroup", "xack", "exists", "hgetall"),
        ("epoch", "counts", "policy", "dlq", "tasks", "traj.raw", "dedup:*"),
    ),
    "reward": _Access(
        ("add_member", *_CONSUMER),
        ("xreadgroup", "xack"),
        ("epoch", "counts", "dlq", "traj.raw", "traj.scored", "group:*", "closed:*", "groups.due"),
    ),
    # It keeps house, too: it measures every stream and forgets consumers that are gone.
    "hae": _Access(
        ("hand_off", "expire_batch", "snapshot", "reap_consumers", *_CONSUMER),
        ("xreadgroup", "xack", "hkeys", "hmget", "zrange", "zrangebyscore", "hgetall"),
        (
            *("epoch", "counts", "dlq", "tasks", "traj.*"),
            *("group:*", "group.dead:*", "closed:*", "issued:*", "groups.due"),
        ),
    ),
    "learner": _Access(
        (
            *("create_run", "issue", "apply", "publish_policy"),
            *("acquire_lease", "renew_lease", "release_lease", *_CONSUMER),
        ),
        ("xreadgroup", "xack", "hgetall", "hset"),
        (
            *("epoch", "counts", "dlq", "policy", "control", "tasks", "traj.*", "issued:*"),
            *("learner.lease", "learner.gen", "group:*", "group.dead:*", "groups.due"),
        ),
    ),
    # `hiper status`, the dashboard of `hiper up`.
    "observer": _Access(("snapshot",), ("hgetall", "zrange"), ("*",)),
    # `hiper dlq`, control.
    "operator": _Access(("snapshot", "replay", "purge"), ("hgetall", "zrange", "xrange", "hset", "hincrby"), ("*",)),
}


def acl_rules(user: str, run: str) -> list[str]:
    """Return the rules of one user of `run`, without its password, for ACL SETUSER or a line of an ACL file."""
    access = USERS[user]
    inner = {command for name in access.scripts for command in _commands_of(name)}
    commands = sorted({*_CONNECTION, *access.commands, *inner})
    keys = Keys(run)
    patterns = [f"~{keys.epoch.removesuffix('epoch')}{name}" for name in access.keys]
    return ["reset", "on", "resetchannels", "-@all", *(f"+{command}" for command in commands), *patterns]


def acl_file(run: str, passwords: Mapping[str, str]) -> str:
    """Return an ACL file with every user of `USERS`; passwords appear as sha256 only, and the default user is off.

    Raises:
        ConfigError: a user has no password.
    """
    lines = ["user default off"]
    for user in USERS:
        if not passwords.get(user):
            raise ConfigError(f"there is no password for broker user '{user}'", f"users: {', '.join(USERS)}")
        digest = hashlib.sha256(passwords[user].encode()).hexdigest()
        rules = [rule for rule in acl_rules(user, run) if rule != "reset"]  # a file has no earlier rules to forget
        lines.append(f"user {user} #{digest} {' '.join(rules)}")
    return "\n".join(lines) + "\n"


def _commands_of(script: str) -> set[str]:
    found = set()
    for command, word in _CALL.findall(scripts.load(script).source):
        found.add(f"{command}|{word}".lower() if command in _CONTAINERS else command.lower())
    return found
