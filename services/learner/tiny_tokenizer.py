"""A word-level tokenizer made from the texts of an environment, for models of a hundred thousand parameters.

One token is a tag, a marker of the compact prompt, a phrase of the environment's text templates, a thing with its
number (` fridge 1`) or a word. Articles and punctuation vanish. Every token but tags and markers carries its leading
blank, so

- the text of a sequence is the concatenation of its tokens' texts, each decoded alone (what the parser relies on), and
- a plan-execute response has one canonical form, `<switch> SWITCH</switch><subgoal> find apple 1</subgoal>...`, which
  decoding what was encoded gives back.

The vocabulary is a sorted set: the same texts in any order give the same token ids. It is stored with the model and
never rebuilt for one. Case is kept: the environment compares actions exactly, and KEEP and SWITCH are upper-case.
"""

import re
from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

__all__ = ["EOS", "PAD", "UNKNOWN", "build_tokenizer"]

UNKNOWN, PAD, EOS = "<unk>", "<pad>", "<eos>"

_BLOCKS = ("<switch>", "</switch>", "<subgoal>", "</subgoal>", "<action>", "</action>")
_DECISIONS = (" KEEP", " SWITCH")

# Fixed parts of the engine's texts (spec/environments.md, 1.6) that are worth one token each; longer ones first.
_PHRASES = (
    "You are in the middle of a room. Looking quickly around you, you see",
    "-= Welcome to TextWorld, ALFRED! =-",
    "You are not carrying anything",
    "There's nothing special about",
    "Next to it, you see",
    "You are carrying",
    "Your task is to",
    "You are facing the",
    "is open. In it, you see",
    "is closed",
    "Nothing happens",
    "You arrive at",
    "you see nothing",
    "you see",
    "You pick up the",
    "You turn on the",
    "You open the",
    "You close the",
    "You move the",
    "You clean the",
    "You heat the",
    "You cool the",
    "On the",
    "In it",
    "from the",
    "to the",
    "using the",
    "go to",
)
_DROPPED = ("A", "a", "an", "The", "the", "and")
_TOKEN = "|".join(
    (
        r"</?[A-Za-z_]+>",
        r"\|[A-Za-z_]+",
        *(" " + re.escape(phrase) + r"(?![A-Za-z])" for phrase in _PHRASES),
        r" [A-Za-z]+ [0-9]+(?![0-9A-Za-z])",
        rf" (?!(?:{'|'.join(_DROPPED)})(?![A-Za-z]))[A-Za-z0-9][A-Za-z0-9/_'-]*",
    )
)


def build_tokenizer(texts: Iterable[str], *, max_length: int) -> PreTrainedTokenizerFast:
    """Make a tokenizer that knows every token of `texts`, the tags of a response and both decisions.

    `max_length` is recorded as the model's limit in tokens. Nothing is added around an encoded text: whoever builds a
    sequence appends `eos_token_id` itself.
    """
    tokenizer = Tokenizer(models.WordLevel({UNKNOWN: 0}, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex(r"\s+"), " "),
            normalizers.Replace(Regex(r" (?=[<|])"), ""),
            normalizers.Replace(Regex(r"(?<=>)(?=[^ <])"), " "),
            normalizers.Replace(Regex(r"^(?=[^ <|])"), " "),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_TOKEN), behavior="removed", invert=True)
    tokenizer.decoder = decoders.Fuse()
    words = {word for text in texts for word in _split(tokenizer, text)}.union(_BLOCKS, _DECISIONS)
    ordered = [UNKNOWN, PAD, EOS, *sorted(words - {UNKNOWN, PAD, EOS})]
    tokenizer.model = models.WordLevel({word: index for index, word in enumerate(ordered)}, unk_token=UNKNOWN)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token=UNKNOWN,
        pad_token=PAD,
        eos_token=EOS,
        clean_up_tokenization_spaces=False,
        model_max_length=max_length,
        padding_side="left",
    )


def _split(tokenizer: Tokenizer, text: str) -> list[str]:
    normalized = tokenizer.normalizer.normalize_str(text)
    return [piece for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normalized)]
