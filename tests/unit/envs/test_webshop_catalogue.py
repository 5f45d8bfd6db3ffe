"""WebShop's data files and what is made of them: reading, damage, prices and options, the cache of large catalogues."""

import gzip
import json
import multiprocessing
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiper.envs.webshop.catalogue import Catalogue, open_catalogue
from hiper.envs.webshop.files import JsonItems, find_files
from hiper.envs.webshop.generator import CatalogueSpec, write_catalogue
from hiper.envs.webshop.goals import Seeds, draw_goals
from hiper.envs.webshop.model import Product
from hiper.envs.webshop.products import decode_product, encode_product, goal_count, read_products
from hiper.envs.webshop.store import pack_products
from hiper.errors import DataError, IntegrityError

RAW: dict[str, Any] = {
    "asin": "B000000001",
    "name": "Lamp",
    "full_description": "",
    "small_description": ["Bright"],
    "pricing": "$16.05",
    "product_category": "Home › Lamps",
    "category": "home",
    "query": " Desk Lamp ",
    "customization_options": "",
}


def product(attributes: dict[str, Any] | None = None, **changes: Any) -> Product:
    (made,) = read_products([{**RAW, **changes}], {RAW["asin"]: attributes} if attributes else {})
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_catalogue(tmp_path / "data", CatalogueSpec(80))
    return tmp_path / "data"


class TestProducts:
    @pytest.mark.parametrize(
        ("pricing", "prices", "text"),
        [
            ("", (100.0,), "$100.0"),
            ("$16.05", (16.05,), "$16.05"),
            ("$1,299.00", (1299.0,), "$1299.0"),
            ("$10.00$12.50", (10.0, 12.5), "$10.0 to $12.5"),
            ("$1.00 - $2.00 - $3.00", (1.0, 2.0), "$1.0 to $2.0"),
        ],
    )
    def test_prices(self, pricing: str, prices: tuple[float, ...], text: str) -> None:
        assert (product(pricing=pricing).prices, product(pricing=pricing).price_text) == (prices, text)

    def test_options_are_lower_case_and_slashes_are_spread(self) -> None:
        raw = {"Color": [{"value": " Black/White "}, {"value": "RED"}], "Size": None}
        assert product(customization_options=raw).options == {"color": ("black | white", "red")}

    def test_a_text_of_features_is_one_feature_and_the_query_is_stripped(self) -> None:
        assert product(small_description="Bright").bullets == ("Bright",)
        assert product().query == "desk lamp"

    def test_products_without_attributes_have_the_originals_dummy(self) -> None:
        assert product().attributes == ("DUMMY_ATTR",)
        assert goal_count(product()) == 0

    def test_one_goal_for_every_combination(self) -> None:
        asked = {"attributes": ["red"], "instruction": "Find me a lamp", "instruction_attributes": ["red"]}
        options = {"a": [{"value": "1"}, {"value": "2"}], "b": [{"value": "x"}, {"value": "x"}, {"value": "y"}]}
        assert goal_count(product(asked)) == 1
        assert goal_count(product(asked, customization_options=options)) == 6

    def test_a_price_limit_is_drawn_for_a_product_without_goals_too(self) -> None:
        asked = {"instruction": "Find me a lamp", "instruction_attributes": ["bright"]}
        empty = replace(product(asked, customization_options={"color": []}), asin="B000000000")
        lamp = product(asked)
        assert (goal_count(empty), goal_count(lamp)) == (0, 1)
        _, goals = draw_goals(Catalogue(pack_products([empty, lamp]), "two"), Seeds())
        alone = Random(Seeds().prices)
        alone.sample(range(4), 2)
        assert len(goals) == 1
        assert goals[0].price_upper == 10.0 * (2 + max(alone.sample(range(4), 2)))

    def test_repeated_long_and_missing_asins_are_left_out(self) -> None:
        items = [RAW, RAW, {**RAW, "asin": "nan"}, {**RAW, "asin": "B0000000012"}, {**RAW, "asin": "B000000002"}]
        assert [made.asin for made in read_products(items, {})] == ["B000000001", "B000000002"]

    @pytest.mark.parametrize(
        ("changes", "message"),
        [({"pricing": "$a.b.c"}, "item 1"), ({"query": None}, "item 1"), ({"asin": "Bé"}, "asin")],
    )
    def test_an_entry_of_the_wrong_form_is_named(self, changes: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            product(**changes)
        with pytest.raises(ValueError, match="no field 'query'"):
            list(read_products([{key: value for key, value in RAW.items() if key != "query"}], {}))

    @given(st.text(), st.text(), st.lists(st.text()), st.dictionaries(st.text(), st.lists(st.text())))
    def test_a_product_survives_its_record(
        self, title: str, description: str, bullets: list[str], options: dict[str, list[str]]
    ) -> None:
        raw = {name: [{"value": value} for value in values] for name, values in options.items()}
        made = product(
            name=title, full_description=description, small_description=bullets, customization_options=raw or ""
        )
        record = encode_product(made)
        assert b"\n" not in record[0]
        assert decode_product(*record) == made


class TestFiles:
    @given(st.lists(st.recursive(st.none() | st.text(max_size=3) | st.integers(), lambda x: st.lists(x, max_size=3))))
    def test_an_array_is_read_as_json_reads_it(
        self, tmp_path_factory: pytest.TempPathFactory, items: list[Any]
    ) -> None:
        path = tmp_path_factory.getbasetemp() / "array.json"
        path.write_text(json.dumps(items, indent=1))
        assert list(JsonItems(path).values()) == items

    @pytest.mark.parametrize(
        "content", [b"", b"[", b"{}", b"[1", b"[1,", b"[1 2]", b"[1]]", b'["\xff"]', b"[nope]", b"[" * 5000], ids=repr
    )
    def test_damage_is_one_error_that_names_the_file(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "broken.json"
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"broken\.json"):
            list(JsonItems(path).values())

    def test_files_may_be_compressed_and_a_cut_one_is_named(self, folder: Path) -> None:
        plain = [made.asin for made in open_catalogue(find_files(folder))]
        for file in list(folder.iterdir()):
            file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
            file.unlink()
        files = find_files(folder)
        assert [made.asin for made in open_catalogue(files)] == plain
        files.items.write_bytes(files.items.read_bytes()[:-20])
        with pytest.raises(DataError, match=r"items_shuffle_80\.json\.gz"):
            open_catalogue(files)

    def test_a_folder_is_found_from_above_and_must_be_complete(self, folder: Path) -> None:
        folder.rename(folder.with_name("webshop"))
        above = folder.parent
        assert find_files(above).name == "80"
        assert find_files(above / "webshop" / "items_shuffle_80.json").name == "80"
        (above / "webshop" / "items_shuffle.json").write_text("[]")
        with pytest.raises(DataError, match="several catalogues"):
            find_files(above)
        with pytest.raises(DataError, match=r"items_ins_v2\.json is missing"):
            find_files(above / "webshop" / "items_shuffle.json")
        with pytest.raises(DataError, match="no such file"):
            find_files(above / "nowhere")
        with pytest.raises(DataError, match="no WebShop products"):
            find_files(above.parent)

    def test_a_catalogue_without_products_is_one_error(self, folder: Path) -> None:
        (folder / "items_shuffle_80.json").write_text("[]")
        with pytest.raises(DataError, match="holds no products"):
            open_catalogue(find_files(folder))


def _open_cached(folder: Path, cache: Path) -> int:
    return len(open_catalogue(find_files(folder), cache, small=0))


class TestCache:
    def test_a_mapped_catalogue_is_the_one_in_memory(self, folder: Path, tmp_path: Path) -> None:
        files = find_files(folder)
        loaded, mapped = open_catalogue(files), open_catalogue(files, tmp_path, small=0)
        again = open_catalogue(files, tmp_path, small=0)
        assert list(loaded) == list(mapped) == list(again)
        assert mapped.folder == again.folder
        assert loaded.store.facts == again.store.facts
        middle = loaded.product(40)
        assert again.store.find(middle.asin) == 40
        assert again.store.find("B") is None
        same = [number for number, made in enumerate(loaded) if made.category == middle.category]
        assert list(again.store.with_category(middle.category)) == same
        assert 40 in again.store.with_query(middle.query)
        assert list(again.store.with_query("nothing")) == []

    def test_changed_files_are_read_again(self, folder: Path, tmp_path: Path) -> None:
        before = open_catalogue(find_files(folder), tmp_path, small=0)
        write_catalogue(folder, CatalogueSpec(80, seed=9))
        after = open_catalogue(find_files(folder), tmp_path, small=0)
        assert before.folder != after.folder
        assert before.product(0).title != after.product(0).title

    def test_processes_that_start_together_build_one_cache(self, folder: Path, tmp_path: Path) -> None:
        with multiprocessing.get_context("spawn").Pool(3) as pool:
            assert pool.starmap(_open_cached, [(folder, tmp_path / "cache")] * 3) == [80] * 3
        (made,) = [entry for entry in (tmp_path / "cache" / "webshop").iterdir() if entry.is_dir()]
        assert not made.name.startswith(".")

    @pytest.mark.parametrize(
        "damage",
        [
            lambda made: (made / "manifest.json").write_text("{"),
            lambda made: (made / "manifest.json").write_text('{"format": 0}'),
            lambda made: (made / "asins.npy").unlink(),
            lambda made: np.save(made / "ends.npy", np.zeros(80, np.uint64)),
            lambda made: (made / "products.bin").write_bytes((made / "products.bin").read_bytes()[:-1]),
        ],
        ids=["manifest", "format", "missing", "column", "cut"],
    )
    def test_damage_is_found_when_it_is_opened(
        self, folder: Path, tmp_path: Path, damage: Callable[[Path], object]
    ) -> None:
        made = open_catalogue(find_files(folder), tmp_path, small=0).folder
        assert made is not None
        damage(made)
        with pytest.raises(IntegrityError):
            open_catalogue(find_files(folder), tmp_path, small=0)

    def test_a_damaged_record_is_found_when_it_is_read(self, folder: Path, tmp_path: Path) -> None:
        made = open_catalogue(find_files(folder), tmp_path, small=0).folder
        assert made is not None
        records = bytearray((made / "products.bin").read_bytes())
        records[10] ^= 1
        (made / "products.bin").write_bytes(records)
        catalogue = open_catalogue(find_files(folder), tmp_path, small=0)
        with pytest.raises(IntegrityError, match="product 0"):
            catalogue.product(0)
        assert catalogue.product(1).asin

    def test_a_cache_that_cannot_be_written_is_one_error(self, folder: Path, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(DataError, match="cannot be written"):
            open_catalogue(find_files(folder), tmp_path / "file", small=0)
