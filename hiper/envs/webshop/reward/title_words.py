"""Words of a product's title that may be nouns: a stand-in for a tagger, in code (spec 2.7).

A title is cut as an English tokenizer does: at blanks, then punctuation and a possessive come off the ends, a unit off
a number, and hyphens, slashes, commas and colons between letters divide. What then is letters only and no stop word
counts, in lower case. Parts with digits in them, such as model numbers, do not.
"""

import re

__all__ = ["title_words"]

_FUNCTION_WORDS = """
a an the this that these those such same other another each every either neither both all any some few many much
more most less least several enough various own else
i me my mine myself you your yours yourself yourselves he him his himself she her hers herself it its itself
we us our ours ourselves they them their themselves one anyone anything everyone everything someone something
nobody noone nothing none who whom whose whoever what whatever which
when whenever where wherever why how while whence whither whereas whereby wherein whereupon whereafter
am is are was were be been being do does did done doing have has had having can cannot could may might must
shall should will would ca
about above across after against along among amongst around as at before behind below beneath beside besides
between beyond by down during except for from in into of off on onto out over per through throughout to toward
towards under until up upon via with within without thru
and or but nor not no if unless because since than then so though although whether yet
again almost alone already also always anyhow anyway anywhere back even ever everywhere further here however
indeed just mostly moreover namely never nevertheless nowhere now often only otherwise perhaps quite rather
really still somehow sometime sometimes somewhere there therefore together too very well once next last latter
latterly former formerly meanwhile first elsewhere hence hereafter hereby herein hereupon thence thereafter
thereby therein thereupon thus afterwards beforehand regarding
two three four five six eight nine ten eleven twelve fifteen twenty forty fifty sixty hundred third
bottom front side top full empty whole amount part name serious
call give go get keep made make move please put say see seem seemed seeming seems show take become becomes became
becoming used using unless re
"""
_STOP_WORDS = frozenset(_FUNCTION_WORDS.split())
_UNITS = "km|m|dm|cm|mm|nm|ha|yd|in|ft|kg|g|mg|t|lb|oz|mph|kmh|hPa|Pa|mbar|mb|MB|kb|KB|gb|GB|tb|TB|T|G|M|K"
_EDGES = "…,:;!?¿¡()[]{}<>_#*&。？！，、；：～·'\"”“`‘´’‚„»«「」『』（）〔〕【】《》〈〉$£€¥%§"
_UNIT = re.compile(rf"(?<=\d)(?:{_UNITS})$")
_POSSESSIVE = re.compile(r"['’]s$", re.IGNORECASE)
_BETWEEN = re.compile(r"(?<=[^\W\d_])[,~](?=[^\W\d_])|(?<=[^\W_])(?:[:<>=/]|[-–—]+)(?=[^\W\d_])|\.{2,}|[…°™®©]")
_SENTENCE = re.compile(r"(?<=[a-z])\.(?=[A-Z])")


def title_words(title: str) -> tuple[str, ...]:
    """Words of `title`, lower-cased, in order, repeated as they occur."""
    words = (word.lower() for chunk in title.split() for word in _pieces(chunk) if word.isalpha())
    return tuple(word for word in words if word not in _STOP_WORDS)


def _pieces(chunk: str) -> list[str]:
    """A chunk without blanks, cut up."""
    chunk = _without_edges(chunk)
    unit = _UNIT.search(chunk)
    if unit is not None:
        return [*_pieces(chunk[: unit.start()]), unit[0]]
    return [piece for part in _BETWEEN.split(chunk) for piece in _SENTENCE.split(part)]


def _without_edges(chunk: str) -> str:
    """Without punctuation and possessives at its ends."""
    while True:
        bare = _POSSESSIVE.sub("", chunk.strip(_EDGES))
        if len(bare) > 2 and bare[-1] == "." and (bare[-2].islower() or bare[-2].isdigit() or bare[-3:-1].isupper()):
            bare = bare[:-1]
        if bare == chunk:
            return chunk
        chunk = bare
