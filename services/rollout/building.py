"""Engine and player as a configuration asks for them: the same for the service and for `hiper eval`."""

from hiper.config import RunConfig
from hiper.plan_execute import make_builder
from services.rollout.engine import Engine, Generator
from services.rollout.episode import EpisodePlayer
from services.rollout.ports import Environment
from services.rollout.random_engine import RandomEngine
from services.rollout.remote_engine import RemoteEngine
from services.rollout.tokenizer import TurnTokenizer, load_tokenizer
from services.rollout.vllm_engine import VllmEngine

__all__ = ["make_engine", "make_player"]


def make_engine(config: RunConfig) -> Engine:
    """The engine of `rollout.engine`, not started."""
    match config.rollout.engine:
        case "random":
            return RandomEngine(load_tokenizer(config.model))
        case "remote":
            return RemoteEngine(config)
        case "vllm":
            return VllmEngine(config)


def make_player(config: RunConfig, engine: Generator, env: Environment, name: str) -> EpisodePlayer:
    """A player of episodes with prompts of `rollout.prompt`; `name` is written into what it plays."""
    settings = config.rollout
    builder = make_builder(settings.prompt, config.env.name)
    tokenizer = TurnTokenizer(load_tokenizer(config.model), builder, settings.sampling.max_prompt_tokens)
    return EpisodePlayer(engine, env, tokenizer, settings, name)
