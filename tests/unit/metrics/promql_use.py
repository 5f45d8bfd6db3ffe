"""Which metrics and labels a PromQL expression uses."""

from dataclasses import dataclass, field

import promql_parser as promql

from hiper.metrics.catalogue import CATALOGUE, EXTERNAL, Kind

TARGET_LABELS = {"namespace", "run", "component", "instance", "job", "process"}
"""Given to every series by those who scrape: `hiper up`, the compose file, the chart."""
_OF_OTHERS = {"persistentvolumeclaim"}


@dataclass
class Use:
    """Metric names, each with the labels it is selected by; labels series are grouped or matched by."""

    selected: list[tuple[str, set[str]]] = field(default_factory=list)
    grouped: set[str] = field(default_factory=set)


def use_of(expr: str) -> Use:
    """Parse `expr`; ValueError if it is not PromQL."""
    use = Use()

    def visit(node: promql.Expr) -> None:
        if isinstance(node, promql.VectorSelector):
            use.selected.append((node.name, {matcher.name for matcher in node.matchers.matchers}))
        elif isinstance(node, promql.AggregateExpr) and node.modifier is not None:
            use.grouped |= set(node.modifier.labels)

    promql.walk(promql.parse(expr), visit)
    return use


def labels_of(metric: str) -> set[str] | None:
    """Labels of a series by its full name, `le` of buckets included; None if the catalogue does not know it."""
    if metric in EXTERNAL:
        return TARGET_LABELS | _OF_OTHERS
    name = metric.removeprefix("hiper_")
    for suffix, more in (("_bucket", {"le"}), ("_sum", set()), ("_count", set())):
        base = CATALOGUE.get(name.removesuffix(suffix))
        if name.endswith(suffix) and base is not None and base.kind is Kind.HISTOGRAM:
            return {*base.labels, *TARGET_LABELS, *more}
    spec = CATALOGUE.get(name) if metric.startswith("hiper_") else None
    return None if spec is None or spec.kind is Kind.HISTOGRAM else {*spec.labels, *TARGET_LABELS}


def faults_of(expr: str) -> list[str]:
    """What in `expr` the catalogue does not know."""
    use = use_of(expr)
    found, known = [], set()
    for metric, labels in use.selected:
        of_metric = labels_of(metric)
        if of_metric is None:
            found.append(f"there is no metric {metric}")
            continue
        known |= of_metric
        found += [f"{metric} has no label {label}" for label in sorted(labels - of_metric)]
    return found + [f"no metric of it has the label {label}" for label in sorted(use.grouped - known)]
