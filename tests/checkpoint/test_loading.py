"""How a load shows how far it is, and where it puts what it reads."""

import pytest
import torch

from llama_mini.checkpoint import load, save
from llama_mini.teach import explore


@pytest.mark.parametrize("format", ["native", "huggingface", "meta", "gguf"])
def test_progress_goes_through_every_tensor_once(gqa, tmp_path, format, assert_same):
    path = tmp_path / "model"
    save(gqa, path, format=format)
    sizes, seen = [], []

    def progress(tensors):
        sizes.append(len(tensors))  # a bar asks how many there will be
        for tensor in tensors:
            seen.append(tensor[0])
            yield tensor

    assert_same(load(path, progress=progress)[0], gqa)
    assert seen == [name for name, _ in gqa.named_parameters()]
    assert sizes == [len(seen)]


def test_the_bars_of_the_chapters_and_of_tqdm_fit(gqa, tmp_path, assert_same, capsys):
    tqdm = pytest.importorskip("tqdm", reason="needs tqdm (extra: cli)").tqdm
    save(gqa, tmp_path / "model")
    for progress in (explore.progress, tqdm):
        assert_same(load(tmp_path / "model", progress=progress)[0], gqa)
    assert f"{len(list(gqa.parameters()))}/" in capsys.readouterr().err


def test_an_interrupted_load_gives_no_model(gqa, tmp_path):
    save(gqa, tmp_path / "model")

    def progress(tensors):
        yield tensors[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(tmp_path / "model", progress=progress)


def test_a_load_goes_straight_to_device_and_dtype(gqa, tmp_path):
    save(gqa, tmp_path / "model")
    model, _ = load(tmp_path / "model", device="meta", dtype=torch.float16)
    assert {(weight.device.type, weight.dtype) for weight in model.parameters()} == {("meta", torch.float16)}
