"""Losses over a stream: the sum is the same however it is computed, and equal to a published number."""

import math

import pytest
import torch

from llama_mini import Config, Llama
from llama_mini.checkpoint import load
from llama_mini.evaluate.perplexity import stream_loss, token_losses


@pytest.fixture
def model() -> Llama:
    torch.manual_seed(0)
    return Llama(
        Config(dim=16, n_layers=1, n_heads=2, n_kv_heads=1, ffn_dim=24, vocab_size=20, max_seq_len=8)
    )


@pytest.fixture
def stream() -> list[int]:
    return torch.randint(20, (35,), generator=torch.Generator().manual_seed(0)).tolist()


def test_each_window_is_read_alone(model, stream):
    windows = [stream[i : i + 8] for i in range(0, 35, 8)]
    alone = [token_losses(model, torch.tensor([window])) for window in windows]
    nats, count = stream_loss(model, stream, window=8, batch=3)
    assert count == 35 - 5 == sum(loss.numel() for loss in alone)
    assert nats == pytest.approx(sum(float(loss.sum()) for loss in alone), rel=1e-5)


def test_a_token_left_over_alone_is_not_scored(model, stream):
    assert stream_loss(model, stream[:17], window=8) == stream_loss(model, stream[:16], window=8)


def test_a_model_that_knows_nothing_pays_log_vocabulary(model, stream):
    with torch.no_grad():
        model.output.weight.zero_()
    nats, count = stream_loss(model, stream, window=8)
    assert nats / count == pytest.approx(math.log(20), rel=1e-6)


def test_what_cannot_be_scored(model, stream):
    with pytest.raises(ValueError, match="window=9 must be between 2 and the model's context of 8"):
        stream_loss(model, stream, window=9)
    with pytest.raises(ValueError, match="1 tokens has nothing to score"):
        stream_loss(model, [3], window=8)
    with pytest.raises(ValueError, match=r"from 0 to 20 do not fit the vocabulary 0\.\.19"):
        stream_loss(model, [0, 20], window=8)


def test_the_real_stories_model_on_real_stories(real_data):
    model, tokenizer = load(real_data("stories260K/stories260K.bin"))
    text = real_data("text/tinystories.txt").read_bytes().decode()
    nats, count = stream_loss(model, tokenizer.encode(text), window=512)
    assert count == 392_244
    assert nats / count == pytest.approx(1.6189, abs=1e-3)
