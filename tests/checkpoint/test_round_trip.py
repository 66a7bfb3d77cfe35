"""What is saved comes back, bit for bit, in every format and number of parts."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from llama_mini.checkpoint import load, native, save
from llama_mini.checkpoint.huggingface import half_rows, pair_rows
from llama_mini.checkpoint.meta import config_from_params, params_of
from llama_mini.config import find_config

WAYS = [("native", 1), ("huggingface", 1), ("huggingface", 3), ("meta", 1), ("meta", 2)]


@pytest.mark.parametrize(("format", "shards"), WAYS)
def test_every_format_gives_back_the_same_bits(model, tmp_path, format, shards, assert_same):
    if model.config.n_kv_heads % shards and format == "meta":
        shards = 1
    path = tmp_path / ("model.safetensors" if format == "native" else "folder")
    save(model, path, format=format, shards=shards)
    loaded, tokenizer = load(path)
    assert_same(loaded, model)
    assert tokenizer is None
    assert not loaded.training
    assert all(weight.requires_grad for weight in loaded.parameters())


@pytest.mark.parametrize("format", ["native", "huggingface", "meta"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_the_dtype_is_kept_unless_another_is_asked_for(gqa, tmp_path, format, dtype, assert_same):
    gqa.to(dtype)
    path = tmp_path / "model.safetensors"
    save(gqa, path, format=format)
    assert_same(load(path)[0], gqa)
    assert_same(load(path, dtype=torch.float32)[0], gqa.float())


def test_a_loaded_model_does_not_depend_on_its_file(gqa, tmp_path, assert_same):
    path = tmp_path / "model.safetensors"
    save(gqa, path)
    loaded, _ = load(path)
    path.write_bytes(b"\0" * path.stat().st_size)
    assert_same(loaded, gqa)


def test_row_orders_undo_each_other():
    weight = torch.arange(2 * 8 * 3).view(16, 3)  # two heads of width 8
    assert torch.equal(pair_rows(half_rows(weight, 2), 2), weight)
    order = half_rows(torch.arange(8)[:, None], 1)[:, 0]
    assert order.tolist() == [0, 2, 4, 6, 1, 3, 5, 7]


def test_a_file_renamed_is_known_by_its_content(gqa, tmp_path, assert_same):
    save(gqa, tmp_path / "model.bin")
    assert_same(load(tmp_path / "model.bin")[0], gqa)


@pytest.mark.parametrize("format", ["huggingface", "meta"])
def test_a_file_of_a_folder_stands_for_the_folder(gqa, tmp_path, format, assert_same):
    save(gqa, tmp_path, format=format)
    weights = next(file for file in tmp_path.iterdir() if file.suffix in (".safetensors", ".pth"))
    assert_same(load(weights)[0], gqa)


def test_the_recipe_travels_in_the_file(gqa, tmp_path, assert_same):
    path = tmp_path / "model.safetensors"
    native.write(gqa, path, recipe={"command": "train", "loss": 1.5})
    assert native.read_recipe(path) == {"command": "train", "loss": 1.5}
    assert_same(load(path)[0], gqa)


def test_equal_models_give_equal_files(gqa, tmp_path):
    for name in "abcd":
        native.write(gqa, tmp_path / name, recipe={"seed": 1})
    assert len({(tmp_path / name).read_bytes() for name in "abcd"}) == 1


def split_like_llama_2(folder: Path, parts: int) -> None:
    """Cut a whole Meta folder into parts as Llama 1 and 2 were: the embeddings by columns."""
    whole = torch.load(folder / "consolidated.00.pth", weights_only=True)
    columns = ("tok_embeddings.weight", "wo.weight", "w2.weight")

    def cut(name: str, weight: Tensor) -> list[Tensor]:
        if weight.dim() == 1:
            return [weight] * parts
        return [part.clone() for part in weight.chunk(parts, 1 if name.endswith(columns) else 0)]

    pieces = {name: cut(name, weight) for name, weight in whole.items()}
    for i in range(parts):
        part = {name: piece[i] for name, piece in pieces.items()} | {"rope.freqs": torch.ones(4)}
        torch.save(part, folder / f"consolidated.{i:02}.pth")


@pytest.mark.parametrize("parts", [2, 4])
def test_metas_two_ways_of_cutting_embeddings(tmp_path, parts, tiny, assert_same):
    model = tiny(n_kv_heads=4)
    save(model, tmp_path, format="meta")
    split_like_llama_2(tmp_path, parts)
    assert_same(load(tmp_path)[0], model)


def test_meta_files_of_a_tied_model_with_the_matrix_written_twice(tmp_path, tiny, assert_same):
    model = tiny(tie_embeddings=True)
    save(model, tmp_path, format="meta")
    file = tmp_path / "consolidated.00.pth"
    weights = torch.load(file, weights_only=True)
    torch.save(weights | {"output.weight": weights["tok_embeddings.weight"].clone()}, file)
    assert_same(load(tmp_path)[0], model)


@pytest.mark.parametrize(
    "name",
    ["llama-7b", "llama-65b", "llama-2-7b", "llama-2-70b", "code-llama-34b", "llama-3-8b", "llama-3.2-1b"],
)
def test_params_json_is_enough_for_the_family(name):
    config = find_config(name)
    params = params_of(config)
    assert "max_seq_len" not in params
    found = config_from_params(Path("params.json"), params, config.vocab_size, config.tie_embeddings)
    assert found == config


def test_params_json_as_meta_published_it():
    params = {
        "dim": 4096,
        "n_layers": 32,
        "n_heads": 32,
        "multiple_of": 256,
        "norm_eps": 1e-5,
        "vocab_size": -1,
    }
    assert config_from_params(Path("params.json"), params, 32000, False) == find_config("llama-2-7b")
    params |= {"n_kv_heads": 8, "ffn_dim_multiplier": 1.3, "multiple_of": 1024, "rope_theta": 500000.0}
    params |= {"use_scaled_rope": True}
    assert config_from_params(Path("params.json"), params, 128256, False) == find_config("llama-3.1-8b")
    with pytest.raises(ValueError, match='add "max_seq_len"'):
        config_from_params(Path("params.json"), params | {"n_layers": 31}, 128256, False)


def test_older_hugging_face_files(tmp_path, tiny, assert_same):
    """pytorch_model.bin, a stored table of frequencies, a tied matrix written twice."""
    model = tiny(tie_embeddings=True)
    save(model, tmp_path, format="huggingface")
    weights = load_file(tmp_path / "model.safetensors")
    weights["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    (tmp_path / "model.safetensors").unlink()
    torch.save(weights, tmp_path / "pytorch_model.bin")
    assert_same(load(tmp_path)[0], model)


def test_a_tied_config_with_another_output_matrix_is_refused(tmp_path, tiny):
    save(tiny(tie_embeddings=True), tmp_path, format="huggingface")
    weights = load_file(tmp_path / "model.safetensors")
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"] + 1
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"1 unexpected: lm_head\.weight"):
        load(tmp_path)


def test_shards_are_listed_in_an_index_of_about_equal_files(model, tmp_path):
    save(model, tmp_path, format="huggingface", shards=3)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == 4 * model.config.n_params
    assert set(index["weight_map"].values()) == {f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)}
