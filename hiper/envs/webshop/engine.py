"""One WebShop episode: a session in a `Shop`, moved by `search[words]` and `click[target]` (spec 2.4, 2.5).

The session is where it is and what has been chosen; pages and products belong to the shop.
"""

import json

from hiper.envs.base import EpisodeOver, StepResult
from hiper.envs.webshop.model import Goal
from hiper.envs.webshop.pages import Button, Page, PageKind, Target, Topic, done_page, heading
from hiper.envs.webshop.reward import RewardParts
from hiper.envs.webshop.shop import Shop
from hiper.envs.webshop.text import Observation, join_plain, join_rich

__all__ = ["WebShopEpisode", "parse_action"]

_BASE_URL = "http://127.0.0.1:3000"
_TOPICS = {topic.lower(): topic for topic in Topic}


def parse_action(action: str) -> tuple[str, str] | None:
    """Name and argument of `name[argument]`, as the pattern `(.+)\\[(.+)\\]` finds them at the start of a text.

    The argument is lower-cased; None if the text has not this form.
    """
    line = action.partition("\n")[0]
    end = line.rfind("]")
    start = line.rfind("[", 0, max(end - 1, 0))
    return None if start < 1 else (line[:start], line[start + 1 : end].lower())


class WebShopEpisode:
    """Plays goal `number` of `shop`; at most `max_steps` actions, 0 for no limit. An action that does nothing counts.

    `seed` decides what the search for random products finds. An action is valid if it was on offer: `search[...]` works
    on every page, but is on offer on the start page only.
    """

    __slots__ = (
        "_goal",
        "_max_steps",
        "_number",
        "_observation",
        "_options",
        "_over",
        "_page",
        "_page_number",
        "_parts",
        "_product",
        "_seed",
        "_shop",
        "_steps",
        "_text",
        "_visited",
        "_words",
    )

    def __init__(
        self,
        shop: Shop,
        number: int,
        *,
        seed: int = 0,
        max_steps: int = 50,
        observation: Observation = Observation.TEXT,
    ) -> None:
        if max_steps < 0:
            raise ValueError(f"max_steps must be 0 (no limit) or more, not {max_steps}")
        self._shop = shop
        self._number = number
        self._goal = shop.goals[number]
        self._seed = seed
        self._max_steps = max_steps
        self._observation = observation
        self._product: int | None = None
        self._options: dict[str, str] = {}
        self._visited: set[str] = set()
        """Asins of the products opened since the start page."""
        self._start()

    def _start(self) -> None:
        self._steps = 0
        self._over = False
        self._parts: RewardParts | None = None
        self._to_start()

    @property
    def goal(self) -> Goal:
        """What is asked for."""
        return self._goal

    @property
    def steps(self) -> int:
        """Actions played since the last reset."""
        return self._steps

    @property
    def reward_parts(self) -> RewardParts | None:
        """How the reward came about; None before the purchase."""
        return self._parts

    @property
    def url(self) -> str:
        """Address of the page, as the original writes it, with the goal's number for the session."""
        if self._page.kind is PageKind.START:
            return f"{_BASE_URL}/{self._number}"
        where = f"{_BASE_URL}/{self._page.kind}/{self._number}"
        found = f"{self._words.replace(' ', '+')}/{self._page_number}"
        if self._product is None:
            return f"{where}/{found}"
        asin = self._shop.catalogue.product(self._product).asin
        match self._page.kind:
            case PageKind.ITEM:
                return f"{where}/{asin}/{found}/{json.dumps(self._options)}"
            case PageKind.TOPIC:
                return f"{where}/{asin}/{found}/{self._page.topic}/{self._options}"
        return f"{where}/{asin}/{self._options}"

    def reset(self) -> StepResult:
        """Start again; the answer is the first page."""
        self._start()
        return self._result(valid=True)

    def step(self, action: str) -> StepResult:
        """Play one action. Raises `EpisodeOver` after the end."""
        if self._over:
            raise EpisodeOver(self._steps)
        self._steps += 1
        valid = False
        match parse_action(action):
            case ("search", words):
                valid = self._search(words)
            case ("click", target):
                valid = self._click(target)
        self._over = self._page.kind is PageKind.DONE or self._steps == self._max_steps
        return self._result(valid=valid)

    def _result(self, *, valid: bool) -> StepResult:
        terminated = self._page.kind is PageKind.DONE
        score = self._parts.score if self._parts is not None else 0.0
        return StepResult(
            observation=self._text,
            admissible=self._page.clickables,
            reward=score,
            terminated=terminated,
            truncated=self._over and not terminated,
            won=score == 1.0,
            score=score,
            action_valid=valid,
            has_search_bar=self._page.kind is PageKind.START,
        )

    def _search(self, words: str) -> bool:
        """Search on any page. Whether it was on offer and did something."""
        offered = self._page.kind is PageKind.START
        return self._to_results(words, 1) and offered

    def _click(self, target: str) -> bool:
        """Click what is listed. Whether it was."""
        page = self._page
        if target not in page.targets:
            return False
        if target == Button.SEARCH:  # listed, does nothing; so does an option value of that name
            pass
        elif target == Button.BUY:
            self._buy()
        elif target == Button.BACK:
            self._to_start()
        elif target == Button.NEXT and page.kind is PageKind.RESULTS:
            self._to_results(self._words, self._page_number + 1)
        elif target == Button.PREVIOUS:
            self._back()
        elif target in _TOPICS:
            self._show(self._shop.topic(self._product, _TOPICS[target]))
        else:
            self._choose(target, page.targets[target])
        return True

    def _back(self) -> None:
        if self._page.kind is PageKind.TOPIC:
            self._show(self._shop.item(self._product))
        else:
            self._to_results(self._words, self._page_number - (self._page.kind is PageKind.RESULTS))

    def _choose(self, clicked: str, target: Target) -> None:
        """Open a product, or take a value for an option."""
        if isinstance(target, int):
            self._product = target
            self._visited.add(self._shop.catalogue.product(target).asin)
        elif target is not None:
            self._options[target] = clicked
        self._show(self._shop.item(self._product))

    def _buy(self) -> None:
        assert self._product is not None, "it is on offer on a product's page only"
        self._parts = self._shop.judge(self._goal, self._product, self._options)
        asin = self._shop.catalogue.product(self._product).asin
        self._show(done_page(asin, self._options, self._parts.score))

    def _to_start(self) -> None:
        self._words, self._page_number = "", 1
        self._product = None
        self._options = {}
        self._visited = set()
        self._show(self._shop.start)

    def _to_results(self, words: str, number: int) -> bool:
        page = self._shop.results(words, number, self._seed)
        if page is None:
            return False
        self._words, self._page_number = words, number
        self._product = None
        self._options = {}
        self._show(page)
        return True

    def _show(self, page: Page) -> None:
        self._page = page
        above = heading(self._goal.instruction_text, page.kind)
        if self._observation is Observation.TEXT_RICH:
            self._text = join_rich((*above, *page.parts), self.url, self._visited)
        else:
            self._text = f"{join_plain(above)} [SEP] {page.plain}" if above else page.plain
