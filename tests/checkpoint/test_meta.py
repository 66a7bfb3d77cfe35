"""Meta's folders exactly as they were published, at a tiny size: one of each generation."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from llama_mini import CONFIGS, Config, Llama, RopeScaling
from llama_mini.checkpoint import load, save
from llama_mini.checkpoint.meta import config_from_params, write
from llama_mini.tokenizer import load_tokenizer

# params.json of each: no vocabulary (or -1) before Llama 3, no n_kv_heads where every head has its own keys,
# and never a context or the kind of scaling.
PUBLISHED = {
    "llama-65b": {
        "dim": 8192, "multiple_of": 256, "n_heads": 64, "n_layers": 80, "norm_eps": 1e-05, "vocab_size": -1,
    },
    "llama-2-70b": {
        "dim": 8192, "multiple_of": 4096, "ffn_dim_multiplier": 1.3, "n_heads": 64, "n_kv_heads": 8,
        "n_layers": 80, "norm_eps": 1e-05, "vocab_size": -1,
    },
    "llama-3-8b": {
        "dim": 4096, "n_layers": 32, "n_heads": 32, "n_kv_heads": 8, "vocab_size": 128256,
        "multiple_of": 1024, "ffn_dim_multiplier": 1.3, "norm_eps": 1e-05, "rope_theta": 500000.0,
    },
    "llama-3.1-405b": {
        "dim": 16384, "ffn_dim_multiplier": 1.2, "multiple_of": 4096, "n_heads": 128, "n_kv_heads": 8,
        "n_layers": 126, "norm_eps": 1e-05, "rope_theta": 500000.0, "use_scaled_rope": True,
        "vocab_size": 128256,
    },
    "llama-3.2-1b": {
        "dim": 2048, "ffn_dim_multiplier": 1.5, "multiple_of": 256, "n_heads": 32, "n_kv_heads": 8,
        "n_layers": 16, "norm_eps": 1e-05, "rope_theta": 500000.0, "use_scaled_rope": True,
        "vocab_size": 128256,
    },
    "code-llama-7b": {
        "dim": 4096, "n_layers": 32, "n_heads": 32, "multiple_of": 256, "ffn_dim_multiplier": 1.0,
        "norm_eps": 1e-5, "rope_theta": 1000000,
    },
}  # fmt: skip

# What is made small, the vocabulary, how many files, the axis that cuts the embeddings, and ffn_dim.
LAYOUTS = {
    "llama-65b": ({"multiple_of": 16, "n_heads": 8}, 104, 8, 1, 176),
    "llama-2-70b": ({"multiple_of": 32, "n_heads": 16}, 104, 8, 1, 224),
    "llama-3-8b": ({"multiple_of": 16, "n_heads": 8, "n_kv_heads": 2}, 104, 1, 0, 224),
    "llama-3.1-405b": ({"multiple_of": 64, "n_heads": 16}, 104, 8, 0, 256),
    "llama-3.2-1b": ({"multiple_of": 16, "n_heads": 8, "n_kv_heads": 2}, 103, 1, 0, 256),
    "code-llama-7b": ({"multiple_of": 16, "n_heads": 8}, 107, 1, 1, 176),
}
DIM, LAYERS = 64, 2
COLUMNS = ("wo.weight", "w2.weight")


def small_config(params: dict, vocab_size: int, ffn_dim: int, tied: bool) -> Config:
    return Config(
        dim=DIM, n_layers=LAYERS, n_heads=params["n_heads"],
        n_kv_heads=params.get("n_kv_heads", params["n_heads"]), ffn_dim=ffn_dim, vocab_size=vocab_size,
        max_seq_len=64, norm_eps=params["norm_eps"], rope_theta=float(params.get("rope_theta", 10_000)),
        rope_scaling=RopeScaling(factor=8.0) if params.get("use_scaled_rope") else None, tie_embeddings=tied,
    )  # fmt: skip


def cut(name: str, weight: Tensor, shards: int, embeddings: int) -> list[Tensor]:
    """The parts of a weight as Meta's model-parallel layers hold them."""
    if weight.dim() == 1:
        return [weight] * shards
    axis = embeddings if name.startswith("tok_") else int(name.endswith(COLUMNS))
    return [part.clone() for part in weight.chunk(shards, axis)]


def buffers(name: str) -> dict[str, Tensor]:
    """The frequencies that Meta's models stored beside their weights."""
    if name == "llama-65b":
        return {f"layers.{i}.attention.inner_attention.rope.freqs": torch.ones(4) for i in range(LAYERS)}
    return {"rope.freqs": torch.ones(4)} if "llama-2" in name or "code" in name else {}


def publish(model: Llama, name: str, folder: Path) -> None:
    """Write a model as Meta would have published it."""
    changes, _, shards, embeddings, _ = LAYOUTS[name]
    params = PUBLISHED[name] | {"dim": DIM, "n_layers": LAYERS, "max_seq_len": 64} | changes
    (folder / "params.json").write_text(json.dumps(params))
    (folder / "checklist.chk").write_text("not weights")
    weights = dict(model.named_parameters())
    weights.setdefault("output.weight", weights["tok_embeddings.weight"])  # a tied one is stored twice
    parts = {key: cut(key, weight.detach(), shards, embeddings) for key, weight in weights.items()}
    for i in range(shards):
        part = {key: pieces[i] for key, pieces in parts.items()} | buffers(name)
        torch.save(part, folder / f"consolidated.{i:02}.pth")


@pytest.fixture(params=LAYOUTS)
def published(request, tmp_path, tiny) -> tuple[str, Llama, Path]:
    """A tiny bfloat16 model in each of the layouts."""
    changes, vocab_size, _, _, ffn_dim = LAYOUTS[request.param]
    config = small_config(PUBLISHED[request.param] | changes, vocab_size, ffn_dim, "3.2" in request.param)
    model = tiny(**vars(config)).bfloat16()
    publish(model, request.param, tmp_path)
    return request.param, model, tmp_path


def test_every_published_layout_is_read(published, assert_same):
    _, model, folder = published
    loaded, tokenizer = load(folder)
    assert_same(loaded, model)
    assert tokenizer is None


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_params_mean_the_right_config(name):
    config = CONFIGS[name]
    found = config_from_params(Path("params.json"), PUBLISHED[name], config.vocab_size, config.tie_embeddings)
    assert found == config


@pytest.mark.parametrize("vocab_size", [32000, 32016, 49953])
def test_an_extended_vocabulary_does_not_hide_the_family(vocab_size):
    """Code Llama's Python models have 32,000 tokens, Chinese-LLaMA 49,953."""
    found = config_from_params(Path("params.json"), PUBLISHED["code-llama-7b"], vocab_size, False)
    assert (found.vocab_size, found.max_seq_len, found.rope_scaling) == (vocab_size, 16384, None)


@pytest.mark.parametrize("field", ["moe_args", "quantization_args", "vision_chunk_size"])
def test_other_models_of_meta_are_refused_by_their_params(field):
    params = PUBLISHED["llama-3-8b"] | {field: {"num_experts": 16}}
    with pytest.raises(ValueError, match=rf"params\.json: {field} is .*, which no Llama here has"):
        config_from_params(Path("params.json"), params, 128256, False)


@pytest.mark.parametrize("name", ["llama-2-70b", "llama-3.1-405b"])
def test_a_missing_last_part_is_counted(tmp_path, tiny, name):
    changes, vocab_size, _, _, ffn_dim = LAYOUTS[name]
    config = small_config(PUBLISHED[name] | changes, vocab_size, ffn_dim, False)
    publish(tiny(**vars(config)), name, tmp_path)
    (tmp_path / "consolidated.07.pth").unlink()
    with pytest.raises(
        ValueError, match=r"holds 7 of 8 parts: layers.0.attention.wq.weight has 8 rows in each"
    ):
        load(tmp_path)


def test_parts_of_two_models(tmp_path, tiny):
    for vocab_size in (52, 50):
        save(tiny(vocab_size=vocab_size), tmp_path / str(vocab_size), format="meta", shards=2)
    (tmp_path / "50" / "consolidated.01.pth").rename(tmp_path / "52" / "consolidated.01.pth")
    with pytest.raises(
        ValueError, match=r"01.pth: tok_emb.*\(25, 32\), but \(26, 32\) in consolidated.00.pth"
    ):
        load(tmp_path / "52")


def test_a_renamed_tensor_is_named_with_the_near_one(gqa, tmp_path):
    save(gqa, tmp_path, format="meta")
    file = tmp_path / "consolidated.00.pth"
    weights = torch.load(file, weights_only=True)
    weights["layers.1.feed_forward.wi.weight"] = weights.pop("layers.1.feed_forward.w1.weight")
    torch.save(weights, file)
    with pytest.raises(
        ValueError, match=r"1 missing: layers.1.*w1.weight \(there is .*wi.weight\), 1 unexpected"
    ):
        load(tmp_path)


def test_a_transposed_tensor_is_named_with_both_shapes(gqa, tmp_path):
    save(gqa, tmp_path, format="meta")
    file = tmp_path / "consolidated.00.pth"
    weights = torch.load(file, weights_only=True)
    weights["layers.0.feed_forward.w2.weight"] = weights["layers.0.feed_forward.w2.weight"].T.contiguous()
    torch.save(weights, file)
    with pytest.raises(ValueError, match=r"00.pth: layers.0.feed_forward.w2.weight.*\(48, 32\).*\(32, 48\)"):
        load(tmp_path)


@pytest.mark.parametrize("shards", [1, 2, 4])
def test_a_part_holds_what_one_gpu_of_metas_code_holds(tmp_path, tiny, shards):
    model = tiny(n_kv_heads=4)
    save(model, tmp_path, format="meta", shards=shards)
    files = sorted(tmp_path.glob("consolidated.*.pth"))
    assert len(files) == shards
    n_bytes = 0
    for i, file in enumerate(files):
        part = torch.load(file, weights_only=True)
        assert list(part) == [name for name, _ in model.named_parameters()]
        for name, weight in model.named_parameters():
            assert torch.equal(part[name], cut(name, weight.detach(), shards, 0)[i]), name
        n_bytes += sum(weight.nbytes for weight in part.values())
    # a part that was saved as a view would carry the whole storage with it
    assert sum(file.stat().st_size for file in files) < n_bytes + shards * 20_000


def test_no_part_is_written_if_one_cannot_be(tmp_path, tiny):
    with pytest.raises(
        ValueError, match=r"shards=2 must divide axis 0 of tok_embeddings.weight, which is 53"
    ):
        write(tiny(vocab_size=53), tmp_path / "new", shards=2)
    assert not list(tmp_path.glob("new/*"))


@pytest.mark.parametrize("name", ["llama2", "llama3"])
def test_metas_tokenizers_travel_under_their_own_name(real_data, tmp_path, tiny, name):
    source = real_data(f"tokenizers/{name}/tokenizer.model")
    tokenizer = load_tokenizer(source)
    model = tiny(vocab_size=len(tokenizer), dim=8, n_heads=2, ffn_dim=8)
    save(model, tmp_path, format="meta", tokenizer=tokenizer)
    _, found = load(tmp_path)
    assert found.vocab == tokenizer.vocab
    assert found.encode(" Füße, 你好!", bos=True) == tokenizer.encode(" Füße, 你好!", bos=True)
    if name == "llama3":
        assert (tmp_path / "tokenizer.model").read_bytes() == source.read_bytes()
