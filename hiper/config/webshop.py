"""Settings of the WebShop environment."""

from typing import Annotated, Literal

from pydantic import Field

from hiper.config.base import Positive, Section

__all__ = ["WebShopSettings"]


class WebShopSettings(Section):
    """How WebShop is played. Other environments take no notice."""

    observation: Literal["text", "text_rich"] = "text"
    """Form of the pages: parts joined by ` [SEP] `, or a line a part with buttons and chosen values marked."""
    human_goals: bool = False
    """Play what people asked for, instead of one goal for every combination of a product's options."""
    option_rule: Literal["original", "exact_counts"] = "original"
    """When an option counts as chosen: `original` compares as WebShop does, under which some 460 of the 6,910 goals
    of the 1,000 products cannot score 1; under `exact_counts` choosing exactly what is asked for always counts."""
    synthetic_products: Positive = 1000
    """Products of the generated catalogue that is played where `env.data` is empty."""
    synthetic_seed: Annotated[int, Field(ge=0)] = 0
    """Which generated catalogue."""
