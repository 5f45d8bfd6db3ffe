"""A tiny model, and trajectories for it."""

import numpy as np
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from hiper._proto.common.v1.types_pb2 import LevelValues, TokenSpan
from hiper._proto.trajectory.v1.trajectory_pb2 import Outcome, Task, Trajectory, Turn
from services.learner.model import set_attention

VOCABULARY = 40


def tiny_model(seed: int = 0, layers: int = 2, kv_heads: int = 2) -> Qwen2ForCausalLM:
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=kv_heads,
        max_position_embeddings=64,
        tie_word_embeddings=True,
    )
    model = Qwen2ForCausalLM(config).eval()
    set_attention(model, "packed")
    return model


def make_turn(random: np.random.Generator, index: int) -> Turn:
    prompt = random.integers(0, VOCABULARY, random.integers(3, 12)).astype("<i4")
    response = random.integers(0, VOCABULARY, 9).astype("<i4")
    values = {level: float(random.normal()) for level in ("low", "high", "switch")}
    return Turn(
        index=index,
        prompt_ids=prompt.tobytes(),
        response_ids=response.tobytes(),
        response_logprobs=(-np.abs(random.normal(size=9))).astype("<f4").tobytes(),
        is_switch=True,
        switch_span=TokenSpan(start=0, end=3),
        subgoal_span=TokenSpan(start=3, end=5),
        action_span=TokenSpan(start=5, end=8),
        value_low_position=5,
        valid=True,
        values=LevelValues(**values),
        advantages=LevelValues(**values),
        returns=LevelValues(**values),
    )


def make_trajectory(seed: int, turns: int = 4, batch: str = "train-000000") -> Trajectory:
    random = np.random.default_rng(seed)
    task = Task(run="r", trajectory_id=f"r/{batch}/{seed}/0", batch_id=batch, batch_size=4)
    return Trajectory(
        schema_version=1,
        task=task,
        task_type="pick",
        outcome=Outcome(won=seed % 2 == 0, terminated=True),
        turns=[make_turn(random, index) for index in range(turns)],
    )
