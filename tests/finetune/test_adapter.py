"""LLaMA-Adapter: shut gates are the base, open ones read the prompt, and nothing else is trained."""

import pytest
import torch

from llama_mini import CONFIGS, Config, Llama, generate
from llama_mini.finetune.adapter import PromptedAttention, add_prompts
from llama_mini.generate import Sampling
from llama_mini.model import Attention, rope_frequencies, rope_table, rotate
from llama_mini.pretrain.activations import checkpoint_activations
from llama_mini.pretrain.loss import next_token_loss
from llama_mini.surgery import count
from llama_mini.train import TrainConfig, train

TINY = Config(dim=32, n_layers=3, n_heads=4, n_kv_heads=2, ffn_dim=48, vocab_size=61, max_seq_len=40)
TOKENS = torch.randint(61, (3, 9), generator=torch.Generator().manual_seed(1))


def base() -> Llama:
    torch.manual_seed(0)
    model = Llama(TINY).eval()
    for weight in model.parameters():
        weight.data.mul_(3)
    return model


def opened(n_layers: int = 2) -> Llama:
    """A prompted model whose heads have gates of their own, some of them shut."""
    model = add_prompts(base(), n_prompts=5, n_layers=n_layers)
    for block in model.layers[-n_layers:]:
        block.attention.gate.data = torch.tensor([0.5, -1.0, 0.0, 2.0])
    return model


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_starts_at_the_base_to_the_bit(dtype):
    model = base().to(dtype)
    expected = model(TOKENS)
    assert torch.equal(add_prompts(model, n_layers=2)(TOKENS), expected)
    kinds = [type(block.attention) for block in model.layers]
    assert kinds == [Attention, PromptedAttention, PromptedAttention]


def test_open_gates_add_a_softmax_over_the_prompt_alone():
    """Head by head, with nothing but dot products: turned queries, and keys that are not."""
    attention = opened().layers[-1].attention
    x, rope = torch.randn(2, 1, 32), rope_table(torch.tensor([[3]]), rope_frequencies(8, 1e4))
    plain = Attention.forward(attention, x, rope)
    queries = rotate(attention.wq(x).unflatten(-1, (4, 8)), rope)[:, 0]  # (B, H, D)
    keys, values = (w(attention.prompt).unflatten(-1, (2, 8)) for w in (attention.wk, attention.wv))
    heads = []
    for head in range(4):
        k, v = keys[:, head // 2], values[:, head // 2]
        heads.append((queries[:, head] @ k.T / 8**0.5).softmax(-1) @ v * attention.gate[head].tanh())
    expected = plain + attention.wo(torch.cat(heads, -1))[:, None]
    assert (expected - plain).abs().max() > 0.02
    torch.testing.assert_close(attention(x, rope), expected, rtol=1e-4, atol=1e-6)


def test_cached_is_uncached_and_the_future_does_not_matter():
    model, greedy = opened(), Sampling(temperature=0)
    prompts = TOKENS.tolist()
    text = generate(model, prompts, greedy, max_new_tokens=8)
    assert text != generate(base(), prompts, greedy, max_new_tokens=8)
    for _ in range(8):
        best = model(torch.tensor(prompts))[:, -1].argmax(-1).tolist()
        prompts = [[*row, token] for row, token in zip(prompts, best, strict=True)]
    assert text == [row[9:] for row in prompts]
    torch.testing.assert_close(model(TOKENS)[:, :4], model(TOKENS[:, :4]), rtol=1e-4, atol=1e-4)


def test_only_prompts_and_gates_are_trained_and_the_gate_opens_first():
    model, before = add_prompts(base(), n_layers=2), base().state_dict()
    total, _ = next_token_loss(checkpoint_activations(model), (TOKENS, TOKENS.roll(-1, 1)))
    total.backward()
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    assert {name.split(".")[-1] for name in trained} == {"prompt", "gate"}
    for name, weight in trained.items():
        assert weight.grad.any() == name.endswith("gate"), name  # behind a shut gate a prompt does nothing
    steps = TrainConfig(steps=5, lr=1e-2, warmup=0)
    list(train(model, lambda i: (TOKENS, TOKENS.roll(-1, 1)), loss=next_token_loss, config=steps))
    for name, weight in model.state_dict().items():
        assert (name in before) != (name in trained)
        assert name in trained or torch.equal(weight, before[name]), name


def test_1_228_800_numbers_and_960_gates_on_the_7b():
    with torch.device("meta"):
        model = add_prompts(Llama(CONFIGS["llama-2-7b"]))
    assert count(model, trainable=True) == 1_228_800 + 960
    assert type(model.layers[1].attention) is Attention
    assert type(model.layers[2].attention) is PromptedAttention


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="n_layers=30 must be between 1 and the model's 3, and n_prompts=10"):
        add_prompts(base())
    with pytest.raises(ValueError, match="n_prompts=0"):
        add_prompts(base(), n_layers=1, n_prompts=0)
    with pytest.raises(ValueError, match="found PromptedAttention"):
        add_prompts(opened(), n_layers=3)
