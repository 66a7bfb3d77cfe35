"""From every format to every other and back; what a format has no place for is refused."""

import os

import pytest
import torch

from llama_mini import Config, RopeScaling
from llama_mini.checkpoint import FILES, FORMATS, load, save
from llama_mini.checkpoint.llama2c import group_of
from llama_mini.tokenizer import BPE

FLOATS = ("native", "huggingface", "meta", "gguf", "llama2c", "llama2c-v1")
QUANTIZED = ("gguf-q8_0", "gguf-q4_0", "llama2c-int8")
SCALED = {"rope_theta": 500_000.0, "rope_scaling": RopeScaling(factor=8.0, original_max_seq_len=32)}
TEXT = "a low tide, a lower tide"


def place(folder, format):
    return folder / ("model" if format in FILES else format)


@pytest.mark.parametrize("fields", [{"n_kv_heads": 2}, {"tie_embeddings": True}], ids=["gqa", "tied"])
def test_a_tour_of_all_float_formats_changes_no_bit(tmp_path, tiny, assert_same, fields):
    first = model = tiny(**fields)
    for i, format in enumerate([*FLOATS, *reversed(FLOATS)]):
        path = place(tmp_path / str(i), format)
        save(model, path, format=format)
        model, _ = load(path)
        assert_same(model, first)


def test_a_tour_of_the_bundled_model(tmp_path, assert_same):
    first, tokenizer = load("base")
    model, found = first, tokenizer
    for i, format in enumerate(FLOATS):
        path = place(tmp_path / str(i), format)
        save(model, path, format=format, tokenizer=found)
        model, found = load(path)
        assert_same(model, first)
        assert found.encode("One day, a llama!", bos=True) == tokenizer.encode("One day, a llama!", bos=True)


@pytest.mark.parametrize("format", ["native", "huggingface", "gguf"])
def test_the_scaling_of_llama_3_1_travels(tmp_path, tiny, assert_same, format):
    model = tiny(**SCALED)
    save(model, place(tmp_path, format), format=format)
    assert_same(load(place(tmp_path, format))[0], model)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_gguf_keeps_the_dtype_and_llama2c_the_numbers(gqa, tmp_path, dtype, assert_same):
    gqa.to(dtype)
    save(gqa, tmp_path / "a.gguf", format="gguf")
    assert_same(load(tmp_path / "a.gguf")[0], gqa)
    save(gqa, tmp_path / "a.bin", format="llama2c")
    assert_same(load(tmp_path / "a.bin")[0], gqa.float())


@pytest.mark.parametrize("format", QUANTIZED)
@pytest.mark.parametrize("tied", [False, True])
def test_quantized_files_hold_nearly_the_same_numbers(tmp_path, tiny, format, tied):
    model = tiny(tie_embeddings=tied, ffn_dim=96)
    save(model, tmp_path / "a", format=format)
    loaded, _ = load(tmp_path / "a")
    assert loaded.config == model.config
    for (name, a), (_, b) in zip(model.named_parameters(), loaded.named_parameters(), strict=True):
        step = a.abs().max() / (8 if format == "gguf-q4_0" else 127) * (a.dim() > 1)
        assert (a - b).abs().max() <= 1.01 * step, name


@pytest.mark.parametrize("format", QUANTIZED)
def test_a_quantized_file_written_again(tmp_path, tiny, format):
    for i in range(3):
        save(load(tmp_path / str(i - 1))[0] if i else tiny(ffn_dim=80), tmp_path / str(i), format=format)
    first, second, third = (load(tmp_path / str(i))[0] for i in range(3))
    if format != "llama2c-int8":
        assert (tmp_path / "0").read_bytes() == (tmp_path / "1").read_bytes()
    for a, b, c in zip(first.parameters(), second.parameters(), third.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=0)  # a float32 scale may change in its last bit once
        assert torch.equal(b, c)


@pytest.mark.parametrize("format", FORMATS)
def test_our_tokenizer_travels_in_every_format(tmp_path, tiny, format):
    tokenizer = BPE.train([TEXT] * 9, vocab_size=262, special_tokens=["<|begin_of_text|>", "<|eot_id|>"])
    model = tiny(vocab_size=270)  # some ids of the model have no token
    save(model, place(tmp_path, format), format=format, tokenizer=tokenizer)
    _, found = load(place(tmp_path, format))
    assert (len(found), found.bos_id, found.stop_ids) == (262, tokenizer.bos_id, tokenizer.stop_ids)
    text = f"{TEXT}, 99 LLAMAS' \n\n  你好\x00é<|eot_id|>"
    assert found.encode(text, special=True) == tokenizer.encode(text, special=True)
    assert found.encode(text) == tokenizer.encode(text)


@pytest.mark.parametrize("format", ["gguf", "gguf-q4_0", "llama2c", "llama2c-int8"])
def test_a_full_disk_leaves_the_old_file_whole(gqa, tmp_path, monkeypatch, format, tiny, assert_same):
    save(gqa, tmp_path / "a", format=format)
    before = (tmp_path / "a").read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save(tiny(n_kv_heads=4), tmp_path / "a", format=format)
    assert [file.name for file in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == before


@pytest.mark.parametrize(
    ("format", "fields", "words"),
    [
        ("llama2c", {"norm_eps": 1e-6}, "computes with norm_eps=1e-05.* has norm_eps=1e-06"),
        ("llama2c-v1", {"rope_theta": 5e5}, r"rope_theta=500000\.0"),
        ("llama2c-int8", SCALED, "rope_scaling=RopeScaling"),
        ("gguf", {"rope_theta": 1.0 / 3 * 1e5}, r"no place for all of .*33333\.33333.* come back"),
        ("gguf", {"rope_scaling": RopeScaling(factor=8.0, low_freq_factor=2.0)}, "not the scaling"),
    ],
)
def test_configs_without_a_place(tmp_path, tiny, format, fields, words):
    with pytest.raises(ValueError, match=words):
        save(tiny(**fields), tmp_path / "a", format=format)
    assert not list(tmp_path.iterdir())


def test_numbers_without_a_place(tmp_path, tiny):
    with pytest.raises(ValueError, match=r"model of torch.float64 cannot be written as GGUF"):
        save(tiny().double(), tmp_path / "a", format="gguf")
    model = tiny()  # ffn_dim is 48, no whole number of blocks, so w2 stays F16
    torch.nn.init.constant_(model.layers[1].feed_forward.w2.weight, 1e5)
    with pytest.raises(ValueError, match=r"blk.1.ffn_down.weight \(32, 48\) cannot be kept as F16: .*100000"):
        save(model, tmp_path / "a", format="gguf-q8_0")
    assert not list(tmp_path.iterdir())


def test_files_are_files(gqa, tmp_path):
    with pytest.raises(ValueError, match="gguf format is one file, but shards=2"):
        save(gqa, tmp_path / "a", format="gguf", shards=2)
    with pytest.raises(ValueError, match="llama2c format is one file"):
        save(gqa, tmp_path, format="llama2c")


@pytest.mark.parametrize(
    ("dim", "ffn_dim", "group"), [(128, 352, 32), (64, 192, 64), (288, 768, 32), (6, 9, 1)]
)
def test_groups_divide_every_row(dim, ffn_dim, group):
    shape = {"n_layers": 1, "n_heads": 1, "n_kv_heads": 1, "vocab_size": 9, "max_seq_len": 8}
    assert group_of(Config(dim=dim, ffn_dim=ffn_dim, **shape)) == group
