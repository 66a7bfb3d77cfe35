"""The tokenizer is found and written beside the weights; bundled models go by name."""

import pytest
import torch

from llama_mini import checkpoint
from llama_mini.checkpoint import load, native, save
from llama_mini.tokenizer import BPE, Tokenizer

TEXT = "a low tide, a lower tide"


@pytest.fixture
def tokenizer() -> BPE:
    return BPE.train([TEXT] * 9, vocab_size=262, special_tokens=["<|begin_of_text|>", "<|end_of_text|>"])


@pytest.mark.parametrize("format", ["native", "huggingface", "meta"])
def test_our_tokenizer_comes_back(tmp_path, tokenizer, format, tiny):
    path = tmp_path / "model.safetensors" if format == "native" else tmp_path
    save(tiny(vocab_size=262), path, format=format, tokenizer=tokenizer)
    _, found = load(path)
    assert found is not None
    assert found.encode(TEXT, bos=True, eos=True) == tokenizer.encode(TEXT, bos=True, eos=True)


def test_a_tokenizer_with_more_ids_than_the_model_is_not_taken(gqa, tmp_path, tokenizer):
    save(gqa, tmp_path / "model.safetensors", tokenizer=tokenizer)
    assert load(tmp_path / "model.safetensors")[1] is None


def test_a_tokenizer_json_of_another_kind_is_left_aside_with_a_warning(gqa, tmp_path):
    save(gqa, tmp_path, format="huggingface")
    (tmp_path / "tokenizer.json").write_text('{"version": "1.0", "model": {"type": "Unigram"}}')
    with pytest.warns(UserWarning, match=r"left aside: .*tokenizer.json: a tokenizer of type 'Unigram'"):
        assert load(tmp_path)[1] is None


def test_a_tokenizer_of_another_kind_cannot_be_written(gqa, tmp_path):
    with pytest.raises(ValueError, match="a Tokenizer cannot be written"):
        save(gqa, tmp_path / "model.safetensors", tokenizer=Tokenizer([b"a"], {}))


def test_a_bundled_model_goes_by_its_name_and_comes_in_float32(gqa, tmp_path, monkeypatch, assert_same):
    monkeypatch.setattr(checkpoint, "ASSETS", tmp_path)
    native.write(gqa.half(), tmp_path / "base.safetensors")
    assert_same(load("base")[0], gqa.float())
    assert load("base", dtype=torch.float16)[0].norm.weight.dtype == torch.float16
    assert load(tmp_path / "base.safetensors")[0].norm.weight.dtype == torch.float16
    with pytest.raises(FileNotFoundError, match="bundled models are called base"):
        load("bas")
