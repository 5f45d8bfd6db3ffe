"""The real WebShop catalogue and what was recorded of the original, loaded once."""

import gzip
import json

import pytest
from webshop_recordings import DATA, GOLDEN

from hiper.envs.webshop.catalogue import Catalogue, open_catalogue
from hiper.envs.webshop.files import ShopFiles, find_files


@pytest.fixture(scope="session")
def recorded() -> dict:
    with gzip.open(GOLDEN, "rt", encoding="utf-8") as file:
        return json.load(file)


@pytest.fixture(scope="session")
def files() -> ShopFiles:
    return find_files(DATA)


@pytest.fixture(scope="session")
def catalogue(files: ShopFiles) -> Catalogue:
    return open_catalogue(files)
