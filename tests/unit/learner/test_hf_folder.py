"""Folders in Hugging Face format: tokenizers are copied, never written anew."""

from pathlib import Path

import pytest
from learner_made import tiny_model
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from hiper.config.sections import ModelSettings
from hiper.errors import DependencyError
from services.learner.hf_folder import copy_files, tokenizer_files


def word_level(directory: Path) -> None:
    """A tokenizer beside a config of type qwen2, which transformers would replace by its own byte-level one."""
    tokenizer = Tokenizer(models.WordLevel({"<unk>": 0, "kettle": 1}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tiny_model().save_pretrained(directory)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>").save_pretrained(directory)


def test_a_tokenizer_travels_byte_for_byte(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    word_level(source)
    (source / "chat_template.jinja").write_text("{{ messages }}")
    copy_files(tokenizer_files(ModelSettings(path=str(source))), target)
    assert {path.name for path in target.iterdir()} >= {
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
    }
    assert not list(target.glob("*.safetensors"))
    for path in target.iterdir():
        assert path.read_bytes() == (source / path.name).read_bytes()
    assert PreTrainedTokenizerFast.from_pretrained(target).encode("kettle kettle") == [1, 1]


def test_a_model_without_a_tokenizer_is_one_line(tmp_path: Path) -> None:
    tiny_model().save_pretrained(tmp_path)
    with pytest.raises(DependencyError, match="holds no tokenizer"):
        tokenizer_files(ModelSettings(path=str(tmp_path)))
