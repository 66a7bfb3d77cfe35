"""Blocks of 32 weights: by hand, against the gguf package's own quantizer, and where they do not fit."""

import pytest
import torch

from llama_mini.checkpoint.blocks import BF16, F16, F32, Q4_0, Q8_0

QUANTIZED = pytest.mark.parametrize("storage", [Q8_0, Q4_0], ids=lambda storage: storage.name)


def weights() -> torch.Tensor:
    """Rows as trained ones look, and the rows at which rounding goes wrong: halves, ties, zeros, outliers."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(23, 96, generator=generator) * torch.logspace(-7, 3, 23)[:, None]
    x[0, 32:64] = 0
    x[1] = torch.arange(96) / 2 - 24
    x[2] = torch.tensor([127.0, 0.5, -0.5, 1.5, -1.5, 2.5] * 16)
    x[3] = torch.tensor([-8.0, 8.0, 7.5, -7.5, 0.5, -0.5] * 16)
    x[4, ::7] = 3e4
    return x


@QUANTIZED
def test_bytes_and_numbers_equal_the_gguf_package(storage):
    quants = pytest.importorskip("gguf", reason="needs gguf (extra: test)").quants
    kind = quants.GGMLQuantizationType[storage.name]
    theirs = quants.quantize(weights().numpy(), kind)
    ours = storage.encode(weights())
    assert torch.equal(ours, torch.from_numpy(theirs).flatten())
    assert len(ours) == storage.size((23, 96))
    assert torch.equal(storage.decode(ours), torch.from_numpy(quants.dequantize(theirs, kind)).flatten())


@QUANTIZED
def test_what_was_rounded_once_stays(storage):
    once = storage.encode(weights()[1:])  # row 0 is so small that its scales are 0 in float16
    assert torch.equal(storage.encode(storage.decode(once)), once)


def test_a_block_of_q8_0_by_hand():
    x = torch.zeros(32)
    x[:5] = torch.tensor([127.0, -127.0, 2.5, -2.5, 0.4])  # the scale is 1
    data = Q8_0.encode(x)
    assert data[:2].view(torch.float16).item() == 1
    assert data[2:].view(torch.int8)[:6].tolist() == [127, -127, 3, -3, 0, 0]
    assert Q8_0.size((32,)) == len(data) == 34


def test_a_block_of_q4_0_by_hand():
    x = torch.zeros(32)
    x[:4], x[16:18] = torch.tensor([-8.0, 8.0, 7.0, 0.5]), torch.tensor([1.0, -1.0])  # the scale is 1
    data = Q4_0.encode(x)
    assert data[:2].view(torch.float16).item() == 1
    assert (data[2:6] & 15).tolist() == [0, 15, 15, 9]  # 8 is cut to 7, stored as 15
    assert (data[2:6] >> 4).tolist() == [9, 7, 8, 8]
    assert Q4_0.decode(data)[:4].tolist() == [-8, 7, 7, 1]
    assert Q4_0.size((32,)) == len(data) == 18


@QUANTIZED
def test_the_error_is_at_most_half_a_step_where_nothing_is_cut(storage):
    x = torch.randn(50, 64, generator=torch.Generator().manual_seed(0))
    error = (storage.decode(storage.encode(x)).view_as(x) - x).abs().view(-1, 32).amax(1)
    step = x.view(-1, 32).abs().amax(1) / (127 if storage is Q8_0 else 8)
    # Q4_0 has no +8, so the largest of the other sign may lose a whole step; scales lose 2^-11 in float16
    assert (error <= step * (0.51 if storage is Q8_0 else 1.01) + x.abs().max() / 2**11).all()


@QUANTIZED
def test_strided_and_half_precision_weights(storage):
    x = weights().half()[:, ::3]
    assert torch.equal(storage.encode(x), storage.encode(x.float().contiguous()))


@pytest.mark.parametrize("storage", [F32, F16, BF16], ids=lambda storage: storage.name)
def test_plain_floats(storage):
    x = torch.tensor([[1.5, -0.0], [float("inf"), 3e-5]]).to(storage.dtype)
    back = storage.decode(storage.encode(x.T)).view(2, 2)
    assert torch.equal(back.view(torch.uint8), x.T.contiguous().view(torch.uint8))


def test_numbers_that_do_not_fit():
    with pytest.raises(ValueError, match="70000, does not fit F16"):
        F16.encode(torch.tensor([1.0, -70_000.0]))
    for bad in (9e6 * 127, float("inf"), float("nan")):
        with pytest.raises(ValueError, match=r"scale of a block, .*does not fit float16"):
            Q8_0.encode(torch.full((32,), bad))
    with pytest.raises(ValueError, match=r"32 numbers in a block, but the rows of \(3, 48\) have 48"):
        Q4_0.size((3, 48))
