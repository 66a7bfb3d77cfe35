"""llama2.c's three versions: byte by byte as its programs read them, cut short, and damaged."""

import struct

import numpy as np
import pytest
import torch

from llama_mini.checkpoint import load, save
from llama_mini.tokenizer import SentencePiece, load_tokenizer
from llama_mini.tokenizer.sentencepiece import Kind, Piece

VERSIONS = ("llama2c", "llama2c-v1", "llama2c-int8")
HEADER = [32, 64, 2, 4, 2, 52, 64]  # dim, ffn_dim, n_layers, n_heads, n_kv_heads, vocab_size, max_seq_len
NORMS = ["attention_norm", "ffn_norm"]
MATRICES = [
    *(f"attention.{w}" for w in ("wq", "wk", "wv", "wo")),
    *(f"feed_forward.{w}" for w in ("w1", "w2", "w3")),
]


@pytest.fixture(params=[False, True], ids=["untied", "tied"])
def model(request, tiny):
    return tiny(ffn_dim=64, tie_embeddings=request.param)


class Reader:
    """Numbers one after the other, as a C program walks through the file."""

    def __init__(self, path, start: int):
        self.data, self.at = path.read_bytes(), start

    def numbers(self, count: int, dtype: str) -> torch.Tensor:
        values = np.frombuffer(self.data, dtype, count, self.at)
        self.at += values.nbytes
        return torch.from_numpy(values.copy())

    def floats(self, like: torch.Tensor) -> torch.Tensor:
        return self.numbers(like.numel(), "<f4").view_as(like)

    def groups(self, like: torch.Tensor, group: int) -> torch.Tensor:
        codes, scales = self.numbers(like.numel(), "i1"), self.numbers(like.numel() // group, "<f4")
        return (codes.float().view(-1, group) * scales[:, None]).view_as(like)


def layers(model, kind: str) -> list[str]:
    return [f"layers.{i}.{kind}.weight" for i in range(model.config.n_layers)]


def test_version_0_as_run_c_reads_it(model, tmp_path):
    save(model, tmp_path / "a.bin", format="llama2c")
    weights, file = dict(model.named_parameters()), Reader(tmp_path / "a.bin", 28)
    tied = model.config.tie_embeddings
    assert list(struct.unpack("<7i", file.data[:28])) == [*HEADER[:5], 52 if tied else -52, 64]
    kinds = [NORMS[0], *MATRICES[:4], NORMS[1], *MATRICES[4:]]
    for name in [
        "tok_embeddings.weight",
        *(name for kind in kinds for name in layers(model, kind)),
        "norm.weight",
    ]:
        assert torch.equal(file.floats(weights[name]), weights[name]), name
    angles = torch.arange(64)[:, None] * 10_000.0 ** (-torch.arange(4) / 4)
    torch.testing.assert_close(file.floats(angles), angles.cos())
    torch.testing.assert_close(file.floats(angles), angles.sin())
    if not tied:
        assert torch.equal(file.floats(weights["output.weight"]), weights["output.weight"])
    assert file.at == len(file.data)


@pytest.mark.parametrize("version", [1, 2])
def test_versions_1_and_2_as_runq_c_reads_them(model, tmp_path, version):
    save(model, tmp_path / "a.bin", format=VERSIONS[version])
    weights, file = dict(model.named_parameters()), Reader(tmp_path / "a.bin", 256)
    tied, group = model.config.tie_embeddings, 32
    flags = bytes([tied]) + (struct.pack("<i", group) if version == 2 else b"")
    head = b"24ka" + struct.pack("<8i", version, *HEADER) + flags
    assert file.data[:256] == head.ljust(256, b"\0")
    for name in [*(name for kind in NORMS for name in layers(model, kind)), "norm.weight"]:
        assert torch.equal(file.floats(weights[name]), weights[name]), name
    matrices = ["tok_embeddings.weight", *(name for kind in MATRICES for name in layers(model, kind))]
    loaded = dict(load(tmp_path / "a.bin")[0].named_parameters())
    for name in matrices if tied else [*matrices, "output.weight"]:
        weight = weights[name].detach()
        values = file.floats(weight) if version == 1 else file.groups(weight, group)
        step = 0 if version == 1 else weight.view(-1, group).abs().amax(1) / 127
        assert ((values - weight).view(-1, group).abs().amax(1) <= 0.501 * step).all(), name
        assert torch.equal(values, loaded[name]), name
    assert file.at == len(file.data)


def test_a_group_by_hand(tiny, tmp_path):
    model = tiny(ffn_dim=64, tie_embeddings=True)
    row = torch.zeros(32)
    row[:6] = torch.tensor([-127.0, 2.5, 3.5, -0.5, 0.6, 100.0])
    with torch.no_grad():
        model.tok_embeddings.weight[0] = row / 4
        model.tok_embeddings.weight[1] = 0
    save(model, tmp_path / "a.bin", format="llama2c-int8")
    file = Reader(tmp_path / "a.bin", 256 + 4 * 5 * 32)  # five norms
    codes = file.numbers(52 * 32, "i1")
    assert codes[:6].tolist() == [-127, 2, 4, 0, 1, 100]  # halves go to the even neighbour
    assert not codes[32:64].any()
    assert file.numbers(2, "<f4").tolist() == [0.25, 0]


def test_the_real_file_comes_back_byte_for_byte(real_data, tmp_path):
    """But for the tables of cosines and sines, which run.c skips: theirs were computed on another machine."""
    real = real_data("stories260K/stories260K.bin")
    save(load(real)[0], tmp_path / "a.bin", format="llama2c")
    ours, theirs = (file.read_bytes() for file in (tmp_path / "a.bin", real))
    tables = 2 * 2048 * 4 * 4  # the last bytes, since the model is tied
    assert ours[:-tables] == theirs[:-tables]
    assert len(ours) == len(theirs)
    np.testing.assert_allclose(
        np.frombuffer(ours[-tables:], "<f4"), np.frombuffer(theirs[-tables:], "<f4"), atol=3e-4
    )


@pytest.mark.parametrize("format", VERSIONS)
def test_cut_anywhere_it_is_refused(tiny, tmp_path, format):
    path, model = tmp_path / "a.bin", tiny(n_layers=1, ffn_dim=64)
    save(model, path, format=format)
    whole = path.read_bytes()
    for keep in [27, 28, 36, 41, 200, 256, 300, 1000, len(whole) // 2, len(whole) - 1]:
        path.write_bytes(whole[:keep])
        with pytest.raises(ValueError, match=r"a\.bin"):
            load(path)
    path.write_bytes(whole[:-1])
    with pytest.raises(ValueError, match=r"ends at byte \d+, but output.weight \(52, 32\) ends at byte \d+"):
        load(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(ValueError, match=rf"describes {len(whole)} bytes, but the file has {len(whole) + 1}"):
        load(path)


@pytest.mark.parametrize(
    ("at", "value", "words"),
    [(4, 3, "version 3 of llama2.c"), (4, -1, "version -1"), (37, 0, "groups of 0"), (37, 33, "groups of 33"),
     (8, 33, "no shape of a model"), (16, 9999, "no shape of a model"), (28, 53, "ends at byte")],
)  # fmt: skip
def test_damaged_headers(tiny, tmp_path, at, value, words):
    path = tmp_path / "a.bin"
    save(tiny(ffn_dim=64), path, format="llama2c-int8")
    data = bytearray(path.read_bytes())
    data[at : at + 4] = struct.pack("<i", value)
    path.write_bytes(data)
    with pytest.raises(ValueError, match=words):
        load(path)


def test_scales_may_begin_at_any_byte(tiny, tmp_path):
    model = tiny(
        dim=18, n_heads=1, n_kv_heads=1, ffn_dim=22, vocab_size=53, tie_embeddings=True
    )  # groups of 2
    save(model, tmp_path / "a.bin", format="llama2c-int8")
    for a, b in zip(model.parameters(), load(tmp_path / "a.bin")[0].parameters(), strict=True):
        assert (a - b).abs().max() <= a.abs().max() / 254 * 1.01


def test_its_tokenizer(real_data, tmp_path):
    model, tokenizer = load(real_data("stories260K/stories260K.bin"))
    save(model, tmp_path / "a.bin", format="llama2c", tokenizer=tokenizer)
    ours, theirs = (
        path.read_bytes() for path in (tmp_path / "tokenizer.bin", real_data("stories260K/tok512.bin"))
    )
    minus_zero = struct.pack("<f", -0.0)  # the score of the first normal piece
    assert ours == theirs.replace(minus_zero, bytes(4))
    _, found = load(tmp_path / "a.bin")
    text = "Lily's dog said: 'Füße, 你好!'\n"
    assert found.encode(text, bos=True, eos=True) == tokenizer.encode(text, bos=True, eos=True)


def test_llama_2s_tokenizer(real_data, tmp_path, tiny):
    tokenizer = load_tokenizer(real_data("tokenizers/llama2/tokenizer.model"))
    save(
        tiny(dim=8, n_layers=1, vocab_size=32_000), tmp_path / "a.bin", format="llama2c", tokenizer=tokenizer
    )
    _, found = load(tmp_path / "a.bin")
    text = "A  llama's    Füße, 你好!\n\t"
    assert found.encode(text, bos=True, eos=True) == tokenizer.encode(text, bos=True, eos=True)
    assert found.decode(found.encode(text)) == text


def test_vocabularies_without_a_place(tiny, tmp_path):
    pieces = [Piece("<unk>", kind=Kind.UNKNOWN), Piece("<s>", kind=Kind.CONTROL), Piece("a"), Piece("b")]
    with pytest.raises(ValueError, match=r"as many pieces as the model, 52: .* this one of 4 does not fit"):
        save(tiny(), tmp_path / "a.bin", format="llama2c", tokenizer=SentencePiece(pieces, eos_id=None))
    assert not list(tmp_path.iterdir())
