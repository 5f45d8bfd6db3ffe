"""What Prometheus makes of a target's labels, for the action `replace`: the only one that is used here."""

import re
from collections.abc import Iterable, Mapping
from typing import Any


def relabelled(rules: Iterable[Mapping[str, Any]], found: Mapping[str, str]) -> dict[str, str]:
    """Labels after `rules`, written as in Prometheus' file (`source_labels`) or as in a monitor (`sourceLabels`)."""
    labels = dict(found)
    for written in rules:
        rule = {key.replace("_", "").lower(): value for key, value in written.items()}
        value = ";".join(labels.get(name, "") for name in rule.get("sourcelabels", ()))
        match = re.fullmatch(rule.get("regex", "(.*)"), value)
        if match is not None:
            labels[rule["targetlabel"]] = match.expand(rule.get("replacement", "$1").replace("$", "\\"))
    return labels
