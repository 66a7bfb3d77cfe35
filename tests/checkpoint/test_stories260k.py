"""A real trained Llama, in both files it comes in, says what it said in the program it was trained with."""

import json

import pytest
import sentencepiece
import torch

from llama_mini.checkpoint import load, save
from llama_mini.evaluate.perplexity import token_losses
from llama_mini.generate import Sampling, generate

FILES = ["stories260K/stories260K.bin", "stories260K/stories260K.gguf"]


@pytest.fixture
def golden(real_data) -> dict:
    return json.loads(real_data("stories260K/golden.json").read_text())


@pytest.mark.parametrize("file", FILES)
def test_greedy_text(real_data, golden, file):
    model, tokenizer = load(real_data(file))
    [ids] = generate(model, [[tokenizer.bos_id]], Sampling(temperature=0), max_new_tokens=200)
    assert ids == golden["greedy_ids_201"][1:]
    expected = real_data("stories260K/expected_stdout_200.txt").read_text()
    assert tokenizer.decode([tokenizer.bos_id, *ids]) == expected


@torch.no_grad()
def test_losses_and_logits(real_data, golden):
    model, tokenizer = load(real_data(FILES[0]))
    ids = tokenizer.encode(golden["sentence"], bos=True)
    assert ids == golden["sentence_ids"]
    losses = token_losses(model, torch.tensor([ids]))[0]
    torch.testing.assert_close(losses, torch.tensor(golden["token_nll"]), rtol=0, atol=1e-4)
    logits = model(torch.tensor([[1]]))[0, -1, :8]
    torch.testing.assert_close(logits, torch.tensor(golden["bos_logits_first8"]), rtol=0, atol=1e-4)


def test_both_files_hold_the_same_bits(real_data):
    one, other = (load(real_data(file)) for file in FILES)
    for (name, a), (_, b) in zip(one[0].named_parameters(), other[0].named_parameters(), strict=True):
        assert torch.equal(a, b), name
    text = "Lily's dog said: 'Füße, 你好!'\n"
    assert one[1].encode(text) == other[1].encode(text)


@pytest.mark.parametrize("format", ["native", "huggingface", "meta"])
def test_model_and_tokenizer_survive_every_format(real_data, tmp_path, format, assert_same):
    model, tokenizer = load(real_data(FILES[0]))
    path = tmp_path / "model.safetensors" if format == "native" else tmp_path
    save(model, path, format=format, tokenizer=tokenizer)
    loaded, found = load(path)
    assert_same(loaded, model)
    text = "Once upon a time, Füße, 你好!\n"
    assert found.encode(text, bos=True, eos=True) == tokenizer.encode(text, bos=True, eos=True)
    library = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    assert library.encode(text) == tokenizer.encode(text)
