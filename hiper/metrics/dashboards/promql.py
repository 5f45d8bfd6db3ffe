"""The few shapes of PromQL the dashboards are made of. `@` is replaced by the choice of run (see `model`)."""

__all__ = ["EPISODES", "latest", "mean", "optional", "quantile", "quantile_or_zero", "rate", "share"]

_WINDOW = "[$__rate_interval]"
EPISODES = "[10m]"
"""Over what a figure of episodes is taken. Of those begun together short ones end first, and they are the won ones: a
shorter window would swing between the two kinds."""


def rate(metric: str, by: str = "", labels: str = "") -> str:
    """Events per second, 0 before the first one."""
    grouped = f" by ({by})" if by else ""
    return f"sum{grouped} (rate({_selector(metric, labels)}{_WINDOW})) or on() {_nothing(by)}"


def quantile(share_of_one: float, metric: str, by: str = "", labels: str = "") -> str:
    """Quantile of a histogram."""
    groups = f"le, {by}" if by else "le"
    buckets = _selector(f"{metric}_bucket", labels)
    return f"histogram_quantile({share_of_one}, sum by ({groups}) (rate({buckets}{_WINDOW})))"


def quantile_or_zero(share_of_one: float, metric: str, by: str = "") -> str:
    """Quantile of a histogram that not every run fills; 0 without it."""
    return f"{quantile(share_of_one, metric, by)} or on() {_nothing(by)}"


def mean(metric: str, by: str = "", window: str = _WINDOW) -> str:
    """Mean of what a histogram observed."""
    grouped = f" by ({by})" if by else ""
    total, count = (f"sum{grouped} (rate({_selector(f'{metric}_{part}')}{window}))" for part in ("sum", "count"))
    return f"{total} / {count}"


def share(part: str, whole: str) -> str:
    """One rate as a share of another, 0 before the first event of either."""
    rates = [f"sum(rate({_selector(metric)}{_WINDOW}))" for metric in (part, whole)]
    return f"({rates[0]} or on() vector(0)) / ({rates[1]} > 0) or on() vector(0)"


def latest(metric: str, by: str = "", labels: str = "", of: str = "max") -> str:
    """A gauge; several processes that measure the same thing become one series."""
    grouped = f" by ({by})" if by else ""
    return f"{of}{grouped} ({_selector(metric, labels)})"


def optional(metric: str, by: str = "") -> str:
    """A gauge that not every run has; 0 without it."""
    return f"{latest(metric, by)} or on() {_nothing(by)}"


def _nothing(by: str) -> str:
    """0, under the name `none` where series have names."""
    return f'label_replace(vector(0), "{by.partition(",")[0]}", "none", "", "")' if by else "vector(0)"


def _selector(metric: str, labels: str = "") -> str:
    return f"{metric}{{@{',' + labels if labels else ''}}}"
