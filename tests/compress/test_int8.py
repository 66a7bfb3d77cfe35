"""Eight-bit weights: the error bound, exactness where it is due, and a model that still runs."""

import pytest
import torch
from torch import nn

from llama_mini import Config, Llama, generate
from llama_mini.compress.int8 import Int8Linear, dequantize, quantize, to_int8
from llama_mini.generate import Sampling
from llama_mini.surgery import fuse

TINY = Config(dim=32, n_layers=2, n_heads=4, n_kv_heads=2, ffn_dim=48, vocab_size=61, max_seq_len=40)


def test_no_weight_is_off_by_more_than_half_a_step():
    weight = torch.randn(37, 50) * torch.logspace(-4, 3, 37)[:, None]  # rows of very different size
    stored, scales = quantize(weight)
    assert stored.dtype == torch.int8
    assert stored.abs().amax(1).eq(127).all()
    error = (dequantize(stored, scales) - weight).abs() / scales[:, None]
    assert 0.45 < error.max() < 0.5001


def test_weights_on_the_grid_come_back_exactly():
    steps = torch.tensor([0.25, 8.0, 2.0**-10])
    grid = torch.randint(-127, 128, (3, 20))
    grid[:, 0] = torch.tensor([127, -127, 127])
    stored, scales = quantize(grid * steps[:, None])
    assert torch.equal(stored.long(), grid)
    assert torch.equal(scales, steps)
    assert torch.equal(dequantize(stored, scales), grid * steps[:, None])


def test_a_row_of_zeros_stays_one_and_a_nan_is_refused():
    stored, scales = quantize(torch.tensor([[0.0, 0.0], [1.0, -2.0]]))
    assert dequantize(stored, scales)[0].tolist() == [0, 0]
    with pytest.raises(ValueError, match="1 of 2 rows"):
        quantize(torch.tensor([[1.0, torch.nan], [1.0, 2.0]]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_layer_multiplies_by_the_dequantized_weight(dtype):
    linear = nn.Linear(24, 7, bias=False).to(dtype)
    layer = Int8Linear(linear)
    x = torch.randn(3, 5, 24, dtype=dtype)
    expected = x.float() @ dequantize(*quantize(linear.weight)).T
    loose = dtype == torch.bfloat16
    assert layer(x).dtype == dtype
    torch.testing.assert_close(
        layer(x).float(), expected, rtol=0.02 if loose else 1e-5, atol=0.02 if loose else 1e-5
    )
    with pytest.raises(ValueError, match="has a bias"):
        Int8Linear(nn.Linear(4, 4))


def test_a_model_in_int8_is_a_quarter_of_float32_and_nearly_the_same():
    torch.manual_seed(0)
    model = Llama(TINY).eval()
    tokens = torch.randint(61, (3, 9))
    before = model(tokens)
    names = to_int8(fuse(model), "layers")
    assert len(names) == 2 * 4
    assert isinstance(model.output, nn.Linear)
    after = model(tokens)
    assert 0 < (after - before).norm() / before.norm() < 0.02
    layer = model.layers[0].feed_forward.w2
    assert sum(buffer.nbytes for buffer in layer.buffers()) == 32 * 48 + 4 * 32
    assert len(generate(model, [[1, 2]], Sampling(temperature=0), max_new_tokens=5)[0]) == 5
