"""Generated WebShop tasks: the default where no data files are (spec 6.2)."""

from hiper.envs.webshop.catalogue import Catalogue, parse_instruction
from hiper.envs.webshop.generator import DEFAULT_CATALOGUE, CatalogueSpec, offers
from hiper.envs.webshop.goals import DEFAULT_SEEDS, Seeds
from hiper.envs.webshop.opening import Opening, open_shop
from hiper.envs.webshop.products import read_products
from hiper.envs.webshop.reward import OptionRule
from hiper.envs.webshop.reward.nouns import RuleNouns
from hiper.envs.webshop.store import pack_products
from hiper.envs.webshop.tasks import HELD_OUT, ShopTasks, TaskSettings
from hiper.envs.webshop.text import Observation

__all__ = ["SyntheticWebShop"]


class SyntheticWebShop(ShopTasks):
    """The goals of a generated catalogue, in memory; `held_out` of them are not trained on. See `WebShopFiles`."""

    def __init__(
        self,
        spec: CatalogueSpec = DEFAULT_CATALOGUE,
        *,
        seed: int = DEFAULT_SEEDS.order,
        human_goals: bool = False,
        observation: Observation = Observation.TEXT,
        option_rule: OptionRule = OptionRule.ORIGINAL,
        held_out: int = HELD_OUT,
    ) -> None:
        self.spec = spec
        made = list(offers(spec))
        extras = {offer.item["asin"]: offer.extra for offer in made}
        store = pack_products(read_products((offer.item for offer in made), extras))
        instructions = {offer.item["asin"]: [parse_instruction(entry) for entry in offer.human] for offer in made}
        opening = Opening(Seeds(order=seed), RuleNouns(), instructions if human_goals else None, option_rule)
        shop, shared = open_shop(Catalogue(store, spec.name), opening)
        settings = TaskSettings(spec.name, "synthetic", held_out=held_out, observation=observation)
        super().__init__(shop, settings, {"catalogue": spec.name, **shared})
