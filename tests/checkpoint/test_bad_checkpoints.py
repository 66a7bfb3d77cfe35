"""Bad files get a sentence that names the file, the tensor and what is wrong; nothing is half done."""

import errno
import json
import os
import pickle
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from llama_mini.checkpoint import load, save
from llama_mini.checkpoint.files import safetensors_header

SMALL_HEADER = (8).to_bytes(8, "little") + b'{"a": 1}'


@pytest.fixture
def stories(real_data, tmp_path):
    """A writable copy of the real llama2.c file."""
    return shutil.copyfile(real_data("stories260K/stories260K.bin"), tmp_path / "stories260K.bin")


def rewrite(path, change) -> None:
    """Save a safetensors file again with other tensors and the same metadata."""
    weights, metadata = load_file(path), safetensors_header(path)["__metadata__"]
    change(weights)
    save_file(weights, path, metadata=metadata)


@pytest.mark.parametrize("keep", [0, 5, 100, 5000, -1])
@pytest.mark.parametrize("format", ["native", "huggingface", "meta"])
def test_truncated(gqa, tmp_path, format, keep):
    path = tmp_path / "model.safetensors"
    save(gqa, path if format == "native" else tmp_path, format=format)
    file = tmp_path / "consolidated.00.pth" if format == "meta" else path
    size = file.stat().st_size
    os.truncate(file, keep if keep >= 0 else size + keep)
    with pytest.raises(ValueError, match=file.name):
        load(path if format == "native" else tmp_path)


def test_truncated_file_names_the_tensor(gqa, tmp_path, stories):
    path = tmp_path / "model.safetensors"
    save(gqa, path)
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(
        ValueError, match=r"the file ends at byte \d+, but [a-z_.0-9]*weight \(\d+.*ends at byte \d+"
    ):
        load(path)
    os.truncate(stories, 500_000)
    with pytest.raises(
        ValueError, match=r"ends at byte 500000, but layers.\d.[a-z_.0-9]*weight \(\d+.*at byte \d+"
    ):
        load(stories)


def test_a_llama2c_file_that_is_too_long(stories):
    with stories.open("ab") as file:
        file.write(b"\0" * 4)
    with pytest.raises(ValueError, match="describes 1056540 bytes, but the file has 1056544"):
        load(stories)


def test_a_wrong_shape_names_file_tensor_and_both_shapes(gqa, tmp_path):
    path = tmp_path / "model.safetensors"
    save(gqa, path)
    rewrite(path, lambda weights: weights.update({"layers.1.feed_forward.w2.weight": torch.zeros(48, 32)}))
    with pytest.raises(
        ValueError, match=r"model.safetensors: layers.1.feed_forward.w2.weight .*\(48, 32\).*\(32, 48\)"
    ):
        load(path)


def test_missing_and_unexpected_names_are_listed_with_the_near_ones(gqa, tmp_path):
    path = tmp_path / "model.safetensors"
    save(gqa, path)

    def rename(weights):
        weights["layers.1.attention.wQ.weight"] = weights.pop("layers.1.attention.wq.weight")
        weights["value_head.weight"] = torch.zeros(1)

    rewrite(path, rename)
    with pytest.raises(
        ValueError, match=r"1 missing: .*wq.weight \(there is .*wQ.weight\), 2 unexpected: .*value_head"
    ):
        load(path)


def test_quantized_tensors_are_refused(gqa, tmp_path):
    path = tmp_path / "model.safetensors"
    save(gqa, path)
    rewrite(path, lambda weights: weights.update({"norm.weight": torch.zeros(32, dtype=torch.int8)}))
    with pytest.raises(ValueError, match=r"norm.weight is stored as torch.int8"):
        load(path)


class Bomb:
    """An object whose unpickling would make a folder."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("name", ["consolidated.00.pth", "pytorch_model.bin"])
@pytest.mark.parametrize(
    "writer", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))]
)
def test_a_file_that_carries_code_is_refused(gqa, tmp_path, name, writer):
    save(gqa, tmp_path, format="meta" if name.endswith("pth") else "huggingface")
    (tmp_path / "model.safetensors").unlink(missing_ok=True)
    writer({"norm.weight": Bomb(tmp_path / "ran")}, tmp_path / name)
    with pytest.raises(ValueError, match=name):
        load(tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("attention_bias", True, "attention_bias is True"),
        ("model_type", "qwen2", "model_type is 'qwen2'.*biases"),
        ("head_dim", 16, "head_dim is 16"),
        ("quantization_config", {"bits": 4}, "quantization_config"),
        ("rope_scaling", {"rope_type": "yarn"}, "'yarn' is not read"),
        ("hidden_size", None, "dim=None"),
        ("num_key_value_heads", 3, "n_heads=4 must be a multiple of n_kv_heads=3"),
    ],
)
def test_a_config_that_is_no_plain_llama(gqa, tmp_path, field, value, words):
    save(gqa, tmp_path, format="huggingface")
    file = tmp_path / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {field: value}))
    with pytest.raises(ValueError, match=words):
        load(tmp_path)


@pytest.mark.parametrize("format", ["huggingface", "meta"])
def test_a_missing_shard(gqa, tmp_path, format):
    save(gqa, tmp_path, format=format, shards=2)
    first = "consolidated.00.pth" if format == "meta" else "model-00001-of-00002.safetensors"
    (tmp_path / first).unlink()
    with pytest.raises(ValueError, match=r"absent|without a gap"):
        load(tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"\x80\x04abc" * 9, b"GGUF", b"PK\3\4junk", SMALL_HEADER, bytes(range(256)) * 9],
)
def test_other_files(tmp_path, content):
    path = tmp_path / "model.bin"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=str(tmp_path)):
        load(path)


def test_no_such_path(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"neither a config\.json"):
        load(tmp_path)


def test_wrong_ways_to_save(gqa, tmp_path):
    for arguments, words in [
        ({"format": "paper"}, "choose one of"),
        ({"shards": 2}, "native format is one file"),
        ({"format": "meta", "shards": 3}, "shards=3 must divide n_kv_heads=2"),
        ({"format": "huggingface", "shards": 0}, "shards=0 must be between"),
    ]:
        with pytest.raises(ValueError, match=words):
            save(gqa, tmp_path / "new", **arguments)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("format", ["native", "huggingface", "meta"])
def test_a_full_disk_leaves_the_old_model_whole(gqa, tmp_path, monkeypatch, format, tiny, assert_same):
    path = tmp_path / "model.safetensors" if format == "native" else tmp_path
    save(gqa, path, format=format)
    before = sorted(file.name for file in tmp_path.iterdir())

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save(tiny(n_kv_heads=4), path, format=format)
    assert sorted(file.name for file in tmp_path.iterdir()) == before
    assert_same(load(path)[0], gqa)


def test_parts_of_two_models_are_not_mixed(gqa, tmp_path, tiny, assert_same):
    save(gqa, tmp_path, format="huggingface", shards=3)
    with pytest.raises(ValueError, match=r"already holds model-00001-of-00003\.safetensors"):
        save(gqa, tmp_path, format="huggingface", shards=2)
    other = tiny(n_kv_heads=4)
    save(other, tmp_path, format="huggingface", shards=3)
    assert_same(load(tmp_path)[0], other)
