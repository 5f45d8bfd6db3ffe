"""`hiper bench learner`: both sides compute the same thing, and the memory figures mean what they say."""

import pytest

from hiper.bench.timing import BenchOptions
from services.learner import bench, logprobs


def test_both_sides_agree_and_memory_is_that_of_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logprobs, "LOGITS", 200_000)
    monkeypatch.setattr(bench, "_MEMORY", ((200, 2_000), (3_200, 2_000)))
    said: list[str] = []
    report = bench.run(BenchOptions(repeats=1, scale=0.05), said.append)
    figures = {figure.name: figure for figure in report.figures}
    for name in ("difference of the losses", "difference of the gradients' norms"):
        assert figures[name].to_json()["target_met"]
    assert report.sizes["tokens"] < report.sizes["padded_tokens"] / 2
    few, many = (figures[f"chunked, {tokens} x 2,000"].values[0] for tokens in ("200", "3,200"))
    plain = figures["plain, 3,200 x 2,000"].values[0]
    assert many < 3 * few, "sixteen times the tokens: only their hidden states take more"
    assert many < plain / 5
    assert said
