"""llama.cpp itself reads our GGUF files and says the same.

Needs llama-cpp-python, which no extra installs, because it has to be compiled, which takes minutes.
"""

import numpy as np
import pytest
import torch

from llama_mini import Llama, RopeScaling
from llama_mini.checkpoint import load, save
from llama_mini.generate import Sampling, generate
from llama_mini.tokenizer import BPE

llama_cpp = pytest.importorskip("llama_cpp", reason="needs llama-cpp-python, which no extra installs")
OPENING = "One day, a little fox"
FLOAT32 = {"type_k": 0, "type_v": 0}  # its cache, which would be float16


def in_llama_cpp(path, n_ctx: int = 256):
    return llama_cpp.Llama(
        str(path), n_ctx=n_ctx, n_threads=1, n_gpu_layers=0, logits_all=True, verbose=False, **FLOAT32
    )


@torch.no_grad()
def compare(model: Llama, theirs, ids: list[int]) -> float:
    """The largest difference of any logit, as a share of how much logits vary."""
    theirs.reset()
    theirs.eval(ids)
    ours = model(torch.tensor([ids]))[0]
    difference = ours - torch.from_numpy(np.array(theirs.scores[: len(ids)]))
    return difference.abs().max().item() / ours.std().item()


@pytest.mark.parametrize("source", ["base", "stories260K/stories260K.bin"])
def test_greedy_text_and_ids(source, real_data, tmp_path):
    model, tokenizer = load(source if source == "base" else real_data(source))
    save(model, tmp_path / "a.gguf", format="gguf", tokenizer=tokenizer)
    theirs = in_llama_cpp(tmp_path / "a.gguf")
    ids = tokenizer.encode(OPENING, bos=True)
    assert theirs.tokenize(OPENING.encode()) == ids
    assert (theirs.token_bos(), theirs.token_eos()) == (tokenizer.bos_id, tokenizer.eos_id)
    assert compare(model, theirs, ids) < 1e-4
    theirs.reset()
    said = [
        token for token, _ in zip(theirs.generate(ids, temp=0, repeat_penalty=1.0), range(100), strict=False)
    ]
    [expected] = generate(model, [ids], Sampling(temperature=0), max_new_tokens=100)
    assert said == expected


@pytest.mark.parametrize(
    "text", ["Wow! 12 llamas,\n\n\tand  'quotes' -- 你好 é", "  two spaces ", "a<|eot_id|>b"]
)
@pytest.mark.parametrize("source", ["base", "stories260K/stories260K.bin"])
def test_ids_of_hard_text(source, text, real_data, tmp_path):
    model, tokenizer = load(source if source == "base" else real_data(source))
    if source != "base":
        tokenizer.collapse_spaces = False  # llama.cpp does not collapse spaces for this kind of tokenizer
    save(model, tmp_path / "a.gguf", format="gguf", tokenizer=tokenizer)
    ids = in_llama_cpp(tmp_path / "a.gguf").tokenize(text.encode(), add_bos=False, special=False)
    assert ids == tokenizer.encode(text)


@pytest.mark.parametrize(
    ("format", "most"), [("gguf", 1e-5), ("gguf-q8_0", 0.2), ("gguf-q4_0", 0.2)]
)  # it rounds the activations to 8 bits before it multiplies blocks
@pytest.mark.parametrize(
    "fields",
    [
        {"n_kv_heads": 1},
        {"tie_embeddings": True, "norm_eps": 1e-6, "rope_theta": 1e6},
        {"rope_theta": 5e5, "rope_scaling": RopeScaling(factor=8.0, original_max_seq_len=32)},
    ],
    ids=["mqa", "tied", "scaled"],
)
def test_logits_of_random_models(tiny, tmp_path, format, most, fields):
    tokenizer = BPE.train(["low lower lowest"] * 9, vocab_size=260, special_tokens=["<|begin_of_text|>"])
    model = tiny(dim=64, ffn_dim=96, vocab_size=260, **fields)
    save(model, tmp_path / "a.gguf", format=format, tokenizer=tokenizer)
    ids = torch.randint(260, (60,), generator=torch.Generator().manual_seed(0)).tolist()
    assert compare(load(tmp_path / "a.gguf")[0], in_llama_cpp(tmp_path / "a.gguf", 64), ids) < most


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(tiny, tmp_path, dtype):
    tokenizer = BPE.train(["low"] * 9, vocab_size=257, special_tokens=["<|begin_of_text|>"])
    model = tiny(dim=64, ffn_dim=96, vocab_size=257).to(dtype)
    save(model, tmp_path / "a.gguf", format="gguf", tokenizer=tokenizer)
    assert compare(model.float(), in_llama_cpp(tmp_path / "a.gguf", 64), list(range(40))) < 0.05
