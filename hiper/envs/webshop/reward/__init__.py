"""What a purchase is worth (spec 2.7)."""

from hiper.envs.webshop.reward.judging import Judge, OptionRule, score
from hiper.envs.webshop.reward.nouns import NounSource, RuleNouns, choose_nouns
from hiper.envs.webshop.reward.parts import RewardParts

__all__ = ["Judge", "NounSource", "OptionRule", "RewardParts", "RuleNouns", "choose_nouns", "score"]
