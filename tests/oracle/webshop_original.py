"""Plays episodes in the original WebShop; run by the interpreter that has it, never imported (see README).

    python webshop_original.py CHECKOUT ASKED.json ANSWER.json

ASKED: `{"items", "attributes", "human": paths, "products": 1000, "seed", "plays": [[goal, [action, ...]], ...],
"purchases": [[goal, asin, options], ...]}`.
ANSWER: `{"nouns": {asin: [...]}, "colours": [...], "goals": [...], "plays": [[shown, ...], ...], "rewards": [...]}`,
one `shown` for the start and one for every action: `{"text", "rich", "url", "actions", "reward", "done"}`.

Nothing is written to the checkout. Its browser, which needs selenium, is left out. Where spaCy's model is not
installed, every alphabetic token of the blank English tokenizer that is no stop word counts as a noun.
"""

import json
import random
import sys
import tempfile
import types
from pathlib import Path

from lucene_original import build_index


class Tagged:
    """A token with the part of speech that makes it a noun for the original."""

    pos_ = "NOUN"

    def __init__(self, text):
        self.text = text


def tagger(spacy, load):
    """The model of the original, or what stands in for it."""

    def find(name, *args, **options):
        try:
            return load(name, *args, **options)
        except OSError:
            blank = spacy.blank("en")
            return lambda text: [Tagged(token.text) for token in blank(text) if token.is_alpha and not token.is_stop]

    return find


def load_original(checkout):
    """Import the original's text environment from its checkout."""
    import pyserini.search.lucene  # noqa: F401 - first: Java must start before torch's threads
    import spacy

    spacy.load = tagger(spacy, spacy.load)
    browser = types.ModuleType("web_agent_site.envs.web_agent_site_env")
    browser.WebAgentSiteEnv = object
    sys.modules[browser.__name__] = browser
    sys.path.insert(0, checkout)
    from web_agent_site.engine import engine, goal, normalize
    from web_agent_site.envs import web_agent_text_env

    return engine, goal, normalize, web_agent_text_env


def documents(products):
    """The original's documents, as its scripts write them."""
    for product in products:
        options = ", and ".join(f"{name}: {', '.join(values)}" for name, values in product["options"].items())
        texts = (product["Title"], product["Description"], product["BulletPoints"][0], options)
        yield {"id": product["asin"], "contents": " ".join(texts).lower(), "product": product}


def show(env, reward, done):
    shown = {"url": env.state["url"], "actions": env.get_available_actions(), "reward": reward, "done": done}
    html = env.state["html"]
    return shown | {
        "text": env.convert_html_to_text(html, simple=True),
        "rich": env.convert_html_to_text(html, simple=False),
    }


def play(env, session, actions):
    env.reset(session=session)
    shown = [show(env, 0, False)]
    for action in actions:
        _, reward, done, _ = env.step(action)
        shown.append(show(env, reward, done))
    return shown


def main(checkout, asked_file, answer_file):
    asked = json.loads(Path(asked_file).read_text())
    engine, goal, normalize, environment = load_original(checkout)
    engine.DEFAULT_ATTR_PATH, engine.HUMAN_ATTR_PATH = asked["attributes"], asked["human"]
    with tempfile.TemporaryDirectory() as folder:
        products, *_ = engine.load_products(asked["items"], asked["products"], human_goals=False)
        index = build_index(documents(products), Path(folder))
        environment.init_search_engine = lambda num_products: engine.LuceneSearcher(index)
        random.seed(asked["seed"])
        env = environment.WebAgentTextEnv(
            observation_mode="text", file_path=asked["items"], num_products=asked["products"]
        )
        plays = [play(env, session, actions) for session, actions in asked["plays"]]
    server = env.server
    rewards = [
        goal.get_reward(server.product_item_dict[asin], server.goals[number], server.product_prices[asin], options)
        for number, asin, options in asked["purchases"]
    ]
    nouns = {product["asin"]: [token.text.lower() for token in goal.nlp(product["name"])] for product in products}
    answer = {"nouns": nouns, "colours": list(normalize.COLOR_SET), "goals": server.goals, "plays": plays}
    Path(answer_file).write_text(json.dumps(answer | {"rewards": rewards}))


if __name__ == "__main__":
    main(*sys.argv[1:])
