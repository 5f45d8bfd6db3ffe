"""Supervised fine-tuning learns responses, ignores prompts in the loss, and repeats itself exactly for one seed."""

import math

import pytest

pytest.importorskip("torch", reason="the learner's packages are not installed")
pytest.importorskip("transformers", reason="the learner's packages are not installed")

import torch
from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

from hiper.config.sections import WarmstartSettings
from services.learner.sft import SftSettings, SftTurn, train_sft
from services.learner.tiny_model import build_model
from services.learner.tiny_tokenizer import build_tokenizer

WORDS = [f"word{letter}" for letter in "abcdefgh"]
SETTINGS = SftSettings(steps=300, batch_turns=16, lr=1e-2, seed=3, warmup_steps=5)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer([" ".join(WORDS)], max_length=32)


def _model(tokenizer: PreTrainedTokenizerFast, seed: int = 0) -> Qwen3ForCausalLM:
    return build_model(WarmstartSettings(hidden_size=32, layers=1), tokenizer, max_length=32, seed=seed)


def _echo_turns(tokenizer: PreTrainedTokenizerFast) -> list[SftTurn]:
    """The response repeats the word before the prompt's closing tag."""
    ids, close = [tokenizer.encode(word)[0] for word in WORDS], tokenizer.encode("</action>")[0]
    return [SftTurn((a, b, close), (b, tokenizer.eos_token_id)) for a in ids for b in ids]


def _train(tokenizer: PreTrainedTokenizerFast) -> tuple[Qwen3ForCausalLM, list[float]]:
    model, losses = _model(tokenizer), list[float]()
    train_sft(model, _echo_turns(tokenizer), SETTINGS, lambda progress: losses.append(progress.loss))
    return model, losses


def test_it_learns_the_response(tokenizer: PreTrainedTokenizerFast) -> None:
    model, losses = _train(tokenizer)
    assert losses[0] > 0.5 * math.log(len(WORDS))
    assert losses[-1] < 0.1
    turn = _echo_turns(tokenizer)[11]
    assert int(model(torch.tensor([turn.prompt])).logits[0, -1].argmax()) == turn.response[0]


def test_prompt_tokens_are_not_in_the_loss(tokenizer: PreTrainedTokenizerFast) -> None:
    """With one response for every prompt the loss comes near 0, which it could not if random prompts counted."""
    ids = [tokenizer.encode(word)[0] for word in WORDS]
    end = tokenizer.encode("</switch> </action>")
    turns = [SftTurn((a, b, end[0]), (end[1], tokenizer.eos_token_id)) for a in ids for b in ids]
    losses: list[float] = []
    train_sft(_model(tokenizer), turns, SETTINGS, lambda progress: losses.append(progress.loss))
    assert losses[-1] < 0.1


def test_one_seed_gives_one_model(tokenizer: PreTrainedTokenizerFast) -> None:
    first, second = (_train(tokenizer)[0].state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_rows_of_different_length_do_not_disturb_each_other(tokenizer: PreTrainedTokenizerFast) -> None:
    """The loss of a batch is the mean over its response tokens, however the rows are padded."""
    ids = [tokenizer.encode(word)[0] for word in WORDS]
    short, long = SftTurn((ids[0],), (ids[1],)), SftTurn((*ids, *ids), (ids[2], ids[3]))

    def first_loss(turns: list[SftTurn]) -> float:
        losses: list[float] = []
        settings = SftSettings(steps=1, batch_turns=2, lr=1e-3, seed=0)
        train_sft(_model(tokenizer), turns, settings, lambda progress: losses.append(progress.loss))
        return losses[0]

    together = (first_loss([short, short]) + 2 * first_loss([long, long])) / 3
    assert first_loss([short, long]) == pytest.approx(together, rel=1e-4)


def test_learning_rate_rises_stays_and_falls() -> None:
    settings = SftSettings(steps=1000, batch_turns=1, lr=1.0, seed=0)
    assert settings.rate(0) == pytest.approx(0.02)
    assert settings.rate(49) == settings.rate(500) == 1.0
    assert settings.rate(1000) == pytest.approx(0.1)


def test_without_turns_it_says_so(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(ValueError, match="no turns"):
        train_sft(_model(tokenizer), [], SETTINGS, lambda _progress: None)


def test_building_a_model_leaves_the_global_generator_alone(tokenizer: PreTrainedTokenizerFast) -> None:
    before = torch.get_rng_state()
    first, second, other = (_model(tokenizer, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    name = "model.layers.0.self_attn.q_proj.weight"
    assert torch.equal(first[name], second[name])
    assert not torch.equal(first[name], other[name])
