"""GGUF beyond the one real file: its half-precision types, Llama 3.1's scaling, and what is refused."""

import random
import struct

import pytest
import torch

from llama_mini import Llama, RopeScaling
from llama_mini.checkpoint import gguf, load, read, save
from llama_mini.checkpoint.stored import names
from llama_mini.model import rope_frequencies
from llama_mini.tokenizer import BPE

CODES = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 30}


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def field(name: str, value) -> bytes:
    if isinstance(value, str):
        return text(name) + struct.pack("<I", 8) + text(value)
    code, kind = ("f", 6) if isinstance(value, float) else ("I", 4)
    return text(name) + struct.pack(f"<I{code}", kind, value)


def write_gguf(model: Llama, path, tensors: dict[str, torch.Tensor], **changes) -> None:
    """A GGUF file as llama.cpp lays it out, with some metadata changed."""
    config = model.config
    fields = {
        "general.architecture": "llama",
        "llama.context_length": config.max_seq_len,
        "llama.embedding_length": config.dim,
        "llama.block_count": config.n_layers,
        "llama.feed_forward_length": config.ffn_dim,
        "llama.attention.head_count": config.n_heads,
        "llama.attention.head_count_kv": config.n_kv_heads,
        "llama.attention.layer_norm_rms_epsilon": config.norm_eps,
        "llama.rope.freq_base": config.rope_theta,
    }
    fields |= {name.replace("__", "."): value for name, value in changes.items()}
    table, body = b"", b""
    for name, tensor in tensors.items():
        shape = struct.pack(f"<I{tensor.dim()}Q", tensor.dim(), *reversed(tensor.shape))
        table += text(name) + shape + struct.pack("<IQ", CODES[tensor.dtype], len(body))
        body += tensor.contiguous().view(torch.uint8).numpy().tobytes()
        body += b"\0" * (-len(body) % 32)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(fields))
    head += b"".join(field(name, value) for name, value in fields.items()) + table
    path.write_bytes(head + b"\0" * (-len(head) % 32) + body)


def tensors_of(model: Llama) -> dict[str, torch.Tensor]:
    theirs = names(gguf.TABLE, model.config)
    return {theirs[name]: weight.detach() for name, weight in model.named_parameters()}


@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize("tied", [False, True])
def test_the_three_plain_types(tmp_path, dtype, tied, tiny, assert_same):
    model = tiny(tie_embeddings=tied).to(dtype)
    write_gguf(model, tmp_path / "a.gguf", tensors_of(model))
    assert_same(load(tmp_path / "a.gguf")[0], model)


def test_norms_in_float32_beside_half_precision_matrices(tmp_path, tiny, assert_same):
    """As llama.cpp writes every f16 file; the model takes the dtype of the embeddings."""
    model = tiny().half()
    tensors = {name: t.float() if "norm" in name else t for name, t in tensors_of(model).items()}
    write_gguf(model, tmp_path / "a.gguf", tensors)
    assert_same(load(tmp_path / "a.gguf")[0], model)


def test_the_scaling_of_llama_3_1(tmp_path, tiny, assert_same):
    model = tiny(rope_theta=500_000.0, rope_scaling=RopeScaling(factor=8.0))
    plain, scaled = (rope_frequencies(8, 500_000.0, scaling) for scaling in (None, model.config.rope_scaling))
    write_gguf(model, tmp_path / "a.gguf", tensors_of(model) | {"rope_freqs.weight": plain / scaled})
    assert_same(load(tmp_path / "a.gguf")[0], model)
    write_gguf(
        model, tmp_path / "b.gguf", tensors_of(model) | {"rope_freqs.weight": torch.tensor([1.0, 2, 3, 4])}
    )
    with pytest.raises(ValueError, match=r"is not the scaling of Llama 3\.1 by 4\.0"):
        load(tmp_path / "b.gguf")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"general__architecture": "qwen2"}, "the architecture is 'qwen2'"),
        ({"llama__expert_count": 8}, "expert_count=8"),
        ({"llama__rope__scaling__type": "yarn"}, "scaling.type=yarn"),
        ({"llama__rope__dimension_count": 4}, r"dimension_count=4 \(of 8\)"),
        (
            {"llama__feed_forward_length": 47},
            r"ffn_gate.weight has shape \(48, 32\), but the config needs \(47, 32\)",
        ),
        ({"llama__block_count": 3}, "9 missing: blk.2"),
    ],
)
def test_what_is_refused(tmp_path, changes, words, tiny):
    model = tiny()
    write_gguf(model, tmp_path / "a.gguf", tensors_of(model), **changes)
    with pytest.raises(ValueError, match=words):
        load(tmp_path / "a.gguf")


def test_blocks_of_a_kind_not_read_here(tmp_path, monkeypatch, tiny):
    model = tiny()
    monkeypatch.setitem(CODES, torch.float32, 12)  # Q4_K
    write_gguf(model, tmp_path / "a.gguf", tensors_of(model))
    with pytest.raises(
        ValueError, match=r"token_embd.weight \(52, 32\) is stored in blocks of GGUF type 12.* Q8_0"
    ):
        load(tmp_path / "a.gguf")


def test_cut_anywhere_it_is_refused(tmp_path, tiny):
    model = tiny(n_layers=1)
    write_gguf(model, tmp_path / "a.gguf", tensors_of(model))
    whole = (tmp_path / "a.gguf").read_bytes()
    for keep in (4, 9, 24, 40, 300, 700, len(whole) // 2, len(whole) - 1 - 32):
        (tmp_path / "b.gguf").write_bytes(whole[:keep])
        with pytest.raises(ValueError, match=r"b\.gguf: the file ends at byte"):
            load(tmp_path / "b.gguf")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"llama__block_count": 2**31}, r"block_count is 2147483648, but there are 21 tensors"),
        ({"llama__attention__head_count": 0}, "head_count is 0, not a positive number"),
        ({"llama__context_length": "long"}, "context_length is long, not a positive number"),
        ({"general__alignment": 3}, "alignment is 3, which must be a multiple of 8"),
        ({"llama__rope__freq_base": float("nan")}, "freq_base is nan, not a positive number"),
    ],
)
def test_damaged_metadata(tmp_path, tiny, changes, words):
    model = tiny()
    write_gguf(model, tmp_path / "a.gguf", tensors_of(model), **changes)
    with pytest.raises(ValueError, match=words):
        load(tmp_path / "a.gguf")


def test_any_damage_to_the_header_is_an_error_with_words(tmp_path, tiny):
    tokenizer = BPE.train(["low lower"] * 9, vocab_size=258)
    path, chance = tmp_path / "a.gguf", random.Random(0)
    save(tiny(n_layers=1, vocab_size=259), path, format="gguf-q8_0", tokenizer=tokenizer)
    whole = path.read_bytes()
    refused = []
    for _ in range(200):
        start, length = chance.randrange(4, 9000), chance.choice([1, 4, 8])
        path.write_bytes(whole[:start] + chance.randbytes(length) + whole[start + length :])
        try:
            read(path)
        except ValueError as error:
            refused.append(str(error))
    assert 40 < len(refused) < 200
    assert all(str(path) in words for words in refused)
