"""Hugging Face's folders of every generation, both ways, and served by transformers from files alone."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from llama_mini import CONFIGS, Llama
from llama_mini.checkpoint import load, save
from llama_mini.checkpoint.huggingface import read
from llama_mini.checkpoint.huggingface_config import read_config, write_config
from llama_mini.generate import Sampling, generate
from llama_mini.tokenizer import BPE, Tokenizer, load_tokenizer

transformers = pytest.importorskip("transformers", reason="needs transformers (extra: book)")

SCALING = {
    "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
    "rope_type": "llama3",
}  # fmt: skip
# What config.json said in each generation, without the fields that no Llama varies.
PUBLISHED = {
    "llama-7b": {
        "hidden_size": 4096, "intermediate_size": 11008, "max_position_embeddings": 2048,
        "num_attention_heads": 32, "num_hidden_layers": 32, "rms_norm_eps": 1e-06, "vocab_size": 32000,
        "pad_token_id": 0, "max_sequence_length": 2048,
    },
    "llama-2-70b": {
        "hidden_size": 8192, "intermediate_size": 28672, "max_position_embeddings": 4096,
        "num_attention_heads": 64, "num_hidden_layers": 80, "num_key_value_heads": 8, "rms_norm_eps": 1e-05,
        "vocab_size": 32000, "pretraining_tp": 1, "rope_scaling": None, "tie_word_embeddings": False,
    },
    "code-llama-7b": {
        "hidden_size": 4096, "intermediate_size": 11008, "max_position_embeddings": 16384,
        "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 32, "rms_norm_eps": 1e-05,
        "vocab_size": 32016, "rope_theta": 1000000, "rope_scaling": None, "tie_word_embeddings": False,
    },
    "llama-3-8b": {
        "hidden_size": 4096, "intermediate_size": 14336, "max_position_embeddings": 8192,
        "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8, "rms_norm_eps": 1e-05,
        "vocab_size": 128256, "rope_theta": 500000.0, "attention_bias": False, "rope_scaling": None,
    },
    "llama-3.1-405b": {
        "hidden_size": 16384, "intermediate_size": 53248, "max_position_embeddings": 131072,
        "num_attention_heads": 128, "num_hidden_layers": 126, "num_key_value_heads": 8, "rms_norm_eps": 1e-05,
        "vocab_size": 128256, "rope_theta": 500000.0, "mlp_bias": False, "rope_scaling": SCALING,
        "eos_token_id": [128001, 128008, 128009],
    },
    "llama-3.2-1b": {
        "hidden_size": 2048, "intermediate_size": 8192, "max_position_embeddings": 131072, "head_dim": 64,
        "num_attention_heads": 32, "num_hidden_layers": 16, "num_key_value_heads": 8, "rms_norm_eps": 1e-05,
        "vocab_size": 128256, "rope_theta": 500000.0, "rope_scaling": SCALING | {"factor": 32.0},
        "tie_word_embeddings": True,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_config_of_each_generation(tmp_path, name):
    fixed = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu"}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(fixed | PUBLISHED[name]))
    assert read_config(path) == CONFIGS[name]
    transformers.LlamaConfig.from_pretrained(tmp_path).save_pretrained(tmp_path / "new")
    new = json.loads((tmp_path / "new" / "config.json").read_text())
    assert "rope_parameters" in new
    assert read_config(tmp_path / "new" / "config.json") == CONFIGS[name]


@pytest.mark.parametrize("name", PUBLISHED)
def test_transformers_understands_our_config(tmp_path, name):
    config = CONFIGS[name]
    write_config(tmp_path / "config.json", config, "bfloat16", None)
    assert read_config(tmp_path / "config.json") == config
    theirs = transformers.AutoConfig.from_pretrained(tmp_path)
    assert theirs.rope_parameters["rope_theta"] == config.rope_theta
    assert theirs.dtype == torch.bfloat16
    assert (theirs.head_dim, theirs.eos_token_id) == (config.head_dim, None)
    kind = "default" if config.rope_scaling is None else "llama3"
    assert theirs.rope_parameters["rope_type"] == kind


@pytest.mark.parametrize("config", ["Qwen2Config", "MistralConfig", "MixtralConfig"])
def test_other_architectures_are_refused_by_name(tmp_path, config):
    theirs = getattr(transformers, config)()
    theirs.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=f"model_type is '{theirs.model_type}'.*another architecture"):
        read_config(tmp_path / "config.json")


@pytest.mark.parametrize(
    ("field", "value"),
    [("attention_bias", True), ("mlp_bias", True), ("hidden_act", "gelu"), ("partial_rotary_factor", 0.5)],
)
def test_variants_of_a_llama_are_refused_by_field(tmp_path, field, value):
    fields = {field: value}
    if field == "partial_rotary_factor":
        fields = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, **fields}}
    transformers.LlamaConfig(**fields).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=f"config.json: {field} is {value!r}, but a Llama here has"):
        read_config(tmp_path / "config.json")


def test_shards_that_transformers_wrote(gqa, tmp_path, assert_same):
    save(gqa, tmp_path / "ours", format="huggingface")
    theirs = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "ours", dtype=torch.float32)
    theirs.save_pretrained(tmp_path / "theirs", max_shard_size="20KB")
    assert len(list((tmp_path / "theirs").glob("*.safetensors"))) > 2
    assert_same(load(tmp_path / "theirs")[0], gqa)


def as_bin_files(folder: Path, n_files: int) -> None:
    """Turn the safetensors of a folder into pytorch_model.bin files, as all were before 2023."""
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.1.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    (folder / "model.safetensors").unlink()
    if n_files == 1:
        torch.save(weights, folder / "pytorch_model.bin")
        return
    places = {name: f"pytorch_model-{i % n_files + 1}-of-{n_files}.bin" for i, name in enumerate(weights)}
    for file in set(places.values()):
        part = {name: weight for name, weight in weights.items() if places[name] == file}
        torch.save(part, folder / file)
    index = {"metadata": {"total_size": 0}, "weight_map": places}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize("n_files", [1, 3])
def test_bin_files_are_read(gqa, tmp_path, assert_same, n_files):
    save(gqa.half(), tmp_path, format="huggingface")
    as_bin_files(tmp_path, n_files)
    assert_same(load(tmp_path)[0], gqa)


def test_an_absent_file_of_an_index_is_named(gqa, tmp_path):
    save(gqa, tmp_path, format="huggingface")
    as_bin_files(tmp_path, 3)
    (tmp_path / "pytorch_model-2-of-3.bin").unlink()
    with pytest.raises(ValueError, match=r"1 of 3 files are absent: pytorch_model-2-of-3.bin"):
        load(tmp_path)


def test_an_index_without_places(gqa, tmp_path):
    save(gqa, tmp_path, format="huggingface", shards=2)
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(ValueError, match=r"index.json has no weight_map"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_pointer_that_git_left(gqa, tmp_path, name):
    save(gqa, tmp_path, format="huggingface")
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")
    with pytest.raises(ValueError, match=rf"{name} is not the weights but git's pointer.*git lfs pull"):
        load(tmp_path)


def test_a_shard_cut_short_while_it_came(gqa, tmp_path):
    save(gqa, tmp_path, format="huggingface", shards=3)
    file = tmp_path / "model-00002-of-00003.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(
        ValueError, match=r"00002-of-00003.safetensors: the file ends at byte .*fetch it again"
    ):
        load(tmp_path)


def test_weights_without_a_tokenizer_have_no_end(gqa, tmp_path):
    """Else transformers would take token 2 for the end of a text."""
    save(gqa, tmp_path, format="huggingface")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert (theirs.generation_config.bos_token_id, theirs.generation_config.eos_token_id) == (None, None)
    assert theirs.dtype == gqa.norm.weight.dtype
    assert not (tmp_path / "generation_config.json").exists()


def test_a_tokenizer_of_llama2c_beside_is_no_weight(gqa, tmp_path):
    (tmp_path / "tokenizer.bin").write_bytes(b"not weights")
    save(gqa, tmp_path, format="huggingface")
    assert read(tmp_path).config == gqa.config


def test_only_tokenizer_json_is_enough(gqa, tmp_path, tiny):
    tokenizer = BPE.train(["a low tide"] * 9, 262, special_tokens=["<|begin_of_text|>", "<|end_of_text|>"])
    save(tiny(vocab_size=270), tmp_path, format="huggingface", tokenizer=tokenizer)
    for name in ("tokenizer_config.json", "generation_config.json"):
        (tmp_path / name).unlink()
    _, found = load(tmp_path)
    assert found is not None
    assert found.encode(" low 你好", bos=True, eos=True) == tokenizer.encode(" low 你好", bos=True, eos=True)
    assert found.stop_ids == tokenizer.stop_ids


@torch.no_grad()
def check_served(model: Llama, tokenizer: Tokenizer, folder: Path, prompt: str, n_tokens: int) -> None:
    """transformers, given nothing but the folder, continues a prompt with our greedy text."""
    save(model, folder, format="huggingface", tokenizer=tokenizer, shards=2)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    words = transformers.AutoTokenizer.from_pretrained(folder)
    inputs = words(prompt, return_tensors="pt")
    prompts = [tokenizer.encode(prompt, bos=True)]
    assert inputs["input_ids"].tolist() == prompts
    torch.testing.assert_close(model(torch.tensor(prompts)), theirs(**inputs).logits, rtol=1e-4, atol=1e-4)
    [ours] = generate(
        model, prompts, Sampling(temperature=0), max_new_tokens=n_tokens, stop=tokenizer.stop_ids
    )
    ids = theirs.generate(**inputs, do_sample=False, max_new_tokens=n_tokens)[0, len(prompts[0]) :].tolist()
    assert ours == [token for token in ids if token not in tokenizer.stop_ids]
    assert words.decode(ids, skip_special_tokens=True) == tokenizer.decode(ours)
    again, found = load(folder)
    assert found is not None
    assert found.encode(prompt, bos=True) == prompts[0]
    assert torch.equal(again(torch.tensor(prompts)), model(torch.tensor(prompts)))


def test_the_bundled_model_is_served_and_stops_at_its_end(tmp_path):
    model, tokenizer = load("base")
    assert tokenizer is not None
    check_served(model, tokenizer, tmp_path, "One day, ", 150)


def test_a_small_llama_3_is_served_with_the_real_tokenizer(real_data, tmp_path, tiny):
    tokenizer = load_tokenizer(real_data("tokenizers/llama3/tokenizer.model"))
    model = tiny(vocab_size=len(tokenizer), dim=16, n_heads=4, n_kv_heads=2, ffn_dim=24, rope_theta=5e5)
    check_served(model, tokenizer, tmp_path, "Füße, 你好! 1234", 12)


def test_a_small_llama_2_is_served_with_the_real_tokenizer(real_data, tmp_path, tiny):
    tokenizer = load_tokenizer(real_data("tokenizers/llama2/tokenizer.model"))
    model = tiny(vocab_size=len(tokenizer), dim=16, n_heads=4, n_kv_heads=4, ffn_dim=24)
    check_served(model, tokenizer, tmp_path, " Füße, 你好! 1234", 12)
