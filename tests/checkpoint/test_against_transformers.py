"""The same logits as the reference nobody here wrote, through the files both sides read and write."""

import pytest
import torch

from llama_mini.checkpoint import load, save

transformers = pytest.importorskip("transformers", reason="needs transformers (extra: book)")


def batch(vocab_size: int) -> torch.Tensor:
    return torch.randint(vocab_size, (3, 41), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_transformers_reads_our_export(model, tmp_path):
    save(model, tmp_path, format="huggingface", shards=2)
    theirs = transformers.LlamaForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    tokens = batch(model.config.vocab_size)
    torch.testing.assert_close(model(tokens), theirs(tokens).logits, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_we_read_theirs(model, tmp_path, assert_same):
    save(model, tmp_path / "ours", format="huggingface")
    theirs = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "ours", dtype=torch.float32).eval()
    theirs.save_pretrained(tmp_path / "theirs")
    loaded, _ = load(tmp_path / "theirs")
    assert_same(loaded, model)
    tokens = batch(model.config.vocab_size)
    torch.testing.assert_close(loaded(tokens), theirs(tokens).logits, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_the_real_stories_model_gives_transformers_the_same_logits(real_data, tmp_path):
    model, tokenizer = load(real_data("stories260K/stories260K.bin"))
    save(model, tmp_path, format="huggingface", tokenizer=tokenizer)
    theirs = transformers.LlamaForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    tokens = batch(512)
    torch.testing.assert_close(model(tokens), theirs(tokens).logits, rtol=1e-4, atol=1e-4)
