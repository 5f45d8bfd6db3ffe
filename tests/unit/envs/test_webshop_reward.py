"""What a purchase is worth, rule by rule, on hand-made products."""

import gzip
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiper.envs.webshop.model import Goal, Product, WantedOption
from hiper.envs.webshop.reward import Judge, OptionRule, RewardParts, RuleNouns, choose_nouns, nouns
from hiper.envs.webshop.reward.colours import COLOURS, normalise
from hiper.envs.webshop.reward.matching import alike
from hiper.envs.webshop.reward.title_words import title_words
from hiper.errors import DataError, DependencyError

LAMP = Product(
    asin="B1",
    title="Brass Desk Lamp Shade",
    description="Warm light",
    bullets=("Easy Assembly", "Dimmable"),
    prices=(20.0,),
    price_text="$20.0",
    options={"color": ("red", "rectangular")},
    attributes=("easy care",),
    category="home",
    query="desk lamps",
    product_category="Home › Lighting › Lamps",
)


def wanted(*options: WantedOption, attributes: tuple[str, ...] = ("easy care",), name: str = LAMP.title) -> Goal:
    return Goal(
        asin="B1" if name == LAMP.title else "B2",
        category="home",
        query="desk lamps",
        name=name,
        product_category=LAMP.product_category,
        instruction_text="",
        attributes=attributes,
        price_upper=30.0,
        options=options,
    )


def buy(
    goal: Goal,
    chosen: Mapping[str, str] | None = None,
    *,
    product: Product = LAMP,
    price: float = 20.0,
    rule: OptionRule = OptionRule.ORIGINAL,
) -> RewardParts:
    return Judge(RuleNouns(), rule)(product, goal, price, chosen or {})


class TestParts:
    def test_all_that_was_asked_for_is_worth_one(self) -> None:
        parts = buy(wanted(("color", "red")), {"color": "red"})
        assert (parts.score, parts.r_type, parts.r_att, parts.r_option, parts.r_price) == (1, 1, 1, 1, True)
        assert parts.w_att + parts.w_price + (parts.w_option or 0) == pytest.approx(1)

    def test_without_options_there_is_no_part_for_them(self) -> None:
        parts = buy(wanted())
        assert (parts.r_option, parts.w_option, parts.score) == (None, None, 1)

    @pytest.mark.parametrize(("price", "affordable"), [(29.99, True), (30.0, True), (30.01, False)])
    def test_the_limit_itself_is_affordable(self, price: float, affordable: bool) -> None:
        parts = buy(wanted(), price=price)
        assert parts.r_price is affordable
        assert parts.score == (1.0 if affordable else 0.5)

    @pytest.mark.parametrize(
        ("attribute", "held"),
        [("easy care", True), ("desk lamp", True), ("dimmable", True), ("assembly dim", True), ("velvet", False)],
    )
    def test_an_attribute_may_stand_anywhere_in_the_texts(self, attribute: str, held: bool) -> None:
        assert buy(wanted(attributes=(attribute,))).r_att == held

    def test_options_people_asked_for_are_values_alone(self) -> None:
        assert buy(wanted("dark red"), {"color": "red"}).r_option == 0
        assert buy(wanted("bright red"), {"color": "red"}).r_option == 1


class TestKind:
    FAR = replace(LAMP, query="sofas", product_category="Home › Sofas")

    @pytest.mark.parametrize(
        ("title", "kind"), [("Brass Desk Lamp Shade", 1.0), ("Brass Door", 1.0), ("Wooden Door", 0.0)]
    )
    def test_a_fifth_of_the_nouns_is_enough_and_none_is_nothing(self, title: str, kind: float) -> None:
        assert buy(wanted(), product=replace(self.FAR, title=title)).r_type == kind
        assert buy(wanted(), product=replace(LAMP, title=title)).r_type == kind

    def test_few_common_nouns_are_worth_half_or_a_tenth(self) -> None:
        long_title = "Brass " + " ".join(f"{chr(97 + n)}word" for n in range(5))
        longest = long_title + " " + " ".join(f"{chr(97 + n)}thing" for n in range(6))
        assert buy(wanted(name=long_title), product=self.FAR).r_type == 0.5
        assert buy(wanted(name=long_title)).r_type == 1.0
        assert buy(wanted(name=longest), product=self.FAR).r_type == 0.1
        assert buy(wanted(name=longest)).r_type == 0.1

    def test_a_goal_without_nouns_cannot_be_missed_by_them(self) -> None:
        parts = buy(wanted(name="123 2-in-1"), product=self.FAR)
        assert (parts.title_score, parts.r_type) == (0.2, 0.5)


class TestOptionRules:
    def test_the_original_shortens_what_is_bought_but_not_what_is_wanted(self) -> None:
        goal, chosen = wanted(("shape", "rectangular")), {"shape": "rectangular"}
        assert buy(goal, chosen).r_option == 0
        assert buy(goal, chosen, rule=OptionRule.EXACT_COUNTS).r_option == 1

    def test_exact_counts_for_what_people_asked_too(self) -> None:
        assert buy(wanted("❤"), {"color": "❤"}).r_option == 0
        assert buy(wanted("❤"), {"color": "❤"}, rule=OptionRule.EXACT_COUNTS).r_option == 1

    @given(st.dictionaries(st.sampled_from("abc"), st.sampled_from(["red", "tan", "wash", "xl", "❤"])))
    def test_exact_counts_never_takes_away(self, chosen: dict[str, str]) -> None:
        goal = wanted(("a", "wash"), ("b", "tan"), ("c", "❤"))
        assert buy(goal, chosen, rule=OptionRule.EXACT_COUNTS).score >= buy(goal, chosen).score

    def test_what_rewards_depend_on_is_named(self) -> None:
        facts = Judge(RuleNouns(), OptionRule.EXACT_COUNTS).facts()
        assert (facts["nouns"], facts["option_rule"]) == ("words-1", "exact_counts")
        assert len(facts["colours_sha256"]) == 64


class TestTexts:
    @pytest.mark.parametrize(
        ("one", "other", "same"),
        [
            ("easy care", "Care, easy!", True),
            ("red", "('color', 'dark red')", True),
            ("light grey", "('color', 'dark grey')", False),
            ("", "", False),
            ("café", "caf", True),
            ("machine wash", "machine washable", True),
        ],
    )
    def test_alike(self, one: str, other: str, same: bool) -> None:
        assert alike(one, other) is same
        assert alike(other, one) is same

    def test_colours_are_tried_in_alphabetical_order_wherever_they_stand(self) -> None:
        assert normalise("light grey") == "grey"
        assert normalise("bordered") == "red"
        assert normalise("xl") == "xl"
        assert list(COLOURS) == sorted(set(COLOURS))

    @pytest.mark.parametrize(
        ("title", "found"),
        [
            ("Women's T-Shirt, 16oz (Pack of 2)", ("women", "t", "shirt", "oz", "pack")),
            ("Ultra-HD 4K TV/Monitor 10pcs", ("ultra", "hd", "k", "tv", "monitor")),
            ("The Lamp For You & Me.", ("lamp",)),
            ("Coffee® 360°Swivel", ("coffee", "swivel")),
            ("", ()),
        ],
    )
    def test_words_of_a_title(self, title: str, found: tuple[str, ...]) -> None:
        assert title_words(title) == found

    @given(st.text())
    def test_words_of_any_title_are_letters_in_lower_case(self, title: str) -> None:
        assert all(word.isalpha() and word == word.lower() for word in title_words(title))


class TestNounSources:
    @pytest.fixture
    def table(self, tmp_path: Path) -> Path:
        path = tmp_path / "title_nouns.json.gz"
        path.write_bytes(gzip.compress(json.dumps({"rule": "", "nouns": {"B1": ["lamp"]}}).encode()))
        return path

    def test_a_table_comes_first_and_the_rule_fills_its_gaps(self, table: Path) -> None:
        source = choose_nouns(table)
        assert source.nouns("B1", "Brass Desk Lamp") == ("lamp",)
        assert source.nouns("B2", "Brass Desk Lamp") == ("brass", "desk", "lamp")
        assert source.name.startswith("table-")

    def test_without_a_table_or_spacy_the_rule_is_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(nouns, "has_spacy", lambda: False)
        assert choose_nouns().name == "words-1"
        with pytest.raises(DependencyError, match="spaCy"):
            nouns.SpacyNouns()

    def test_spacy_finds_what_it_tags_as_nouns_and_is_asked_once_a_title(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[str] = []

        def parse(title: str) -> list[SimpleNamespace]:
            asked.append(title)
            tags = {"Brass": "PROPN", "Lamp": "NOUN", "New": "ADJ"}
            return [SimpleNamespace(text=word, pos_=tags[word]) for word in title.split()]

        spacy = SimpleNamespace(__version__="3.8", load=lambda name, exclude: parse)
        monkeypatch.setattr(nouns, "has_spacy", lambda: True)
        monkeypatch.setattr(nouns.importlib, "import_module", lambda name: spacy)
        source = choose_nouns()
        assert [source.nouns("B1", "New Brass Lamp"), source.nouns("B2", "New Brass Lamp")] == [("brass", "lamp")] * 2
        assert asked == ["New Brass Lamp"]
        assert source.name == "spacy-3.8-en_core_web_sm"

    def test_a_written_table_gives_what_its_source_gave(self, tmp_path: Path) -> None:
        path = tmp_path / "title_nouns.json.gz"
        assert nouns.write_table(path, [LAMP], RuleNouns()) == 1
        table = choose_nouns(path)
        assert table.nouns("B1", "another title") == RuleNouns().nouns("B1", LAMP.title)
        assert nouns.write_table(path, [LAMP], RuleNouns()) == 1
        assert choose_nouns(path).name == table.name

    @pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"nouns": []}', b'{"nouns": {"B1": 3}}', b"\xff"])
    def test_a_file_of_another_form_is_refused_by_name(self, tmp_path: Path, text: bytes) -> None:
        path = tmp_path / "title_nouns.json"
        path.write_bytes(text)
        with pytest.raises(DataError, match=r"title_nouns\.json"):
            choose_nouns(path)

    def test_a_damaged_archive_is_refused_by_name(self, table: Path) -> None:
        table.write_bytes(table.read_bytes()[:-9])
        with pytest.raises(DataError, match="not a table of nouns"):
            choose_nouns(table)
