"""WebShop tasks from real data files (spec 2.1): a folder with `items_shuffle*.json` and what belongs to it."""

from pathlib import Path

from hiper.envs.webshop.catalogue import open_catalogue, read_instructions
from hiper.envs.webshop.files import find_files
from hiper.envs.webshop.goals import DEFAULT_SEEDS, Seeds
from hiper.envs.webshop.opening import Opening, open_shop
from hiper.envs.webshop.reward import OptionRule, choose_nouns
from hiper.envs.webshop.tasks import ShopTasks, TaskSettings
from hiper.envs.webshop.text import Observation
from hiper.errors import DataError

__all__ = ["WebShopFiles"]


class WebShopFiles(ShopTasks):
    """The goals of the catalogue at `path` (see `files.find_files`).

    `seed` shuffles the goals; prices and price limits have their own fixed seed. `human_goals` plays what people asked
    for, instead of one goal for every combination of options. Large catalogues are cached in `cache` (see
    `catalogue.default_cache`). Raises `DataError` when there is no whole catalogue at `path`.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        seed: int = DEFAULT_SEEDS.order,
        human_goals: bool = False,
        observation: Observation = Observation.TEXT,
        option_rule: OptionRule = OptionRule.ORIGINAL,
        cache: Path | None = None,
    ) -> None:
        files = find_files(Path(path))
        catalogue = open_catalogue(files, cache)
        instructions = None
        if human_goals:
            if files.human is None:
                raise DataError(f"{files.items.parent}: items_human_ins.json is missing", "leave out env.human_goals")
            instructions = read_instructions(files.human)
        version = f"{files.name}-human" if human_goals else files.name
        opening = Opening(Seeds(order=seed), choose_nouns(files.nouns), instructions, option_rule)
        shop, shared = open_shop(catalogue, opening)
        super().__init__(shop, TaskSettings(f"webshop-{version}", version, observation=observation), shared)
