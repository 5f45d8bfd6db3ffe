"""Rows on their way to other processes, and the one process that needs none."""

import numpy as np
import pytest
import torch
from learner_made import VOCABULARY, make_trajectory
from safetensors.numpy import load, save

from hiper.config import parse_config
from hiper.errors import ConfigError
from services.learner.build import build_trainer
from services.learner.crew import decode_rows, decode_tokens, encode_rows, encode_tokens
from services.learner.ranks import Ranks
from services.learner.rows import rows_of


def test_rows_arrive_as_they_were() -> None:
    rows = rows_of((make_trajectory(seed) for seed in range(3)), VOCABULARY)
    rows[1].targets[2] = np.nan
    arrived = decode_rows(load(save(encode_rows(rows))))
    assert len(arrived) == len(rows)
    for ours, theirs in zip(arrived, rows, strict=True):
        for name in ("behaviour_logprobs", "advantages", "mask", "targets", "old_values"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
            assert getattr(ours, name).dtype == getattr(theirs, name).dtype
        assert ours.policy_version == theirs.policy_version
    for ours, theirs in zip(decode_tokens(encode_tokens([row.tokens for row in rows])), rows, strict=True):
        np.testing.assert_array_equal(ours.prompt, theirs.tokens.prompt)
        np.testing.assert_array_equal(ours.response, theirs.tokens.response)
        assert ours.value_low_position == theirs.tokens.value_low_position


def test_a_bare_prompt_arrives_without_a_response() -> None:
    (row, *_) = rows_of([make_trajectory(0)], VOCABULARY)
    bare = type(row.tokens)(row.tokens.prompt, row.tokens.response[:0])
    (arrived,) = decode_tokens(load(save(encode_tokens([bare]))))
    assert len(arrived.response) == 0
    assert len(arrived) == len(bare)


def test_one_process_asks_nobody() -> None:
    tensor = torch.tensor([1.0, 2.0])
    assert Ranks().sum(tensor) is tensor
    assert not Ranks().any(False)
    assert Ranks().any(True)


def test_several_processes_and_a_backend_for_one_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match=r"learner\.backend 'torch' is one process"):
        build_trainer(parse_config({}, source="test", environment={}))
