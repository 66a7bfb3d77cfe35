"""What we write as GGUF is what the gguf package, llama.cpp's own, finds in it."""

import pytest
import torch

from llama_mini import RopeScaling
from llama_mini.checkpoint import gguf_tokenizer, load, save
from llama_mini.checkpoint.gguf import TABLE
from llama_mini.checkpoint.gguf_tokenizer import OWN_PATTERN, bpe_fields
from llama_mini.checkpoint.stored import names
from llama_mini.model import rope_frequencies
from llama_mini.tokenizer import BPE, SentencePiece, Tokenizer, load_tokenizer
from llama_mini.tokenizer.sentencepiece import Kind, Piece

gguf = pytest.importorskip("gguf", reason="needs gguf (extra: test)")
TEXT = "A llama's 1234 words: 你好 — été,\n\n\tno  more...  "
STORIES = "stories260K/stories260K.bin"
SCALING = RopeScaling(factor=8.0)


def contents(path) -> tuple[dict, dict]:
    """The metadata of a file, and its tensors, as the package reads them."""
    reader = gguf.GGUFReader(path)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    return fields, {tensor.name: tensor for tensor in reader.tensors}


@pytest.fixture
def bpe() -> BPE:
    return BPE.train(
        [TEXT] * 9, vocab_size=283, special_tokens=["<|begin_of_text|>", "<|end_of_text|>", "<|pad|>"]
    )


@pytest.mark.parametrize("fields", [{}, {"tie_embeddings": True}, {"rope_scaling": SCALING}], ids=str)
def test_names_shapes_and_metadata(tmp_path, tiny, fields):
    model = tiny(norm_eps=1e-6, rope_theta=5e5, **fields)
    save(model, tmp_path / "a.gguf", format="gguf")
    metadata, tensors = contents(tmp_path / "a.gguf")
    expected = {
        "GGUF.version": 3, "general.architecture": "llama", "general.file_type": 0,
        "llama.context_length": 64, "llama.embedding_length": 32, "llama.block_count": 2,
        "llama.feed_forward_length": 48, "llama.attention.head_count": 4, "llama.attention.head_count_kv": 2,
        "llama.rope.dimension_count": 8, "llama.rope.freq_base": 5e5, "llama.vocab_size": 52,
        "tokenizer.ggml.model": "no_vocab",
    }  # fmt: skip
    assert expected.items() <= metadata.items()
    assert metadata["llama.attention.layer_norm_rms_epsilon"] == pytest.approx(1e-6)
    theirs = names(TABLE, model.config)
    for name, weight in model.named_parameters():
        tensor = tensors.pop(theirs[name])
        assert tuple(tensor.shape) == tuple(reversed(weight.shape))
        assert torch.equal(torch.tensor(tensor.data), weight)
    factors = {name: tensor.data for name, tensor in tensors.items()}
    if model.config.rope_scaling is None:
        assert not factors
    else:
        slow = rope_frequencies(8, 5e5) / rope_frequencies(8, 5e5, SCALING)
        assert factors.pop("rope_freqs.weight").tolist() == slow.tolist()
        assert not factors


@pytest.mark.parametrize(
    ("format", "dtype", "matrix", "head"),
    [
        ("gguf", torch.float32, "F32", "F32"),
        ("gguf", torch.float16, "F16", "F16"),
        ("gguf", torch.bfloat16, "BF16", "BF16"),
        ("gguf-q8_0", torch.float32, "Q8_0", "Q8_0"),
        ("gguf-q8_0", torch.bfloat16, "Q8_0", "Q8_0"),
        ("gguf-q4_0", torch.float32, "Q4_0", "Q8_0"),
        ("gguf-q4_0", torch.float16, "Q4_0", "Q8_0"),
    ],
)
@pytest.mark.parametrize("tied", [False, True])
def test_the_storage_of_every_tensor_and_its_bytes(tmp_path, tiny, format, dtype, matrix, head, tied):
    model = tiny(tie_embeddings=tied, n_layers=1).to(dtype)  # rows of w2 are 48 long: one block and a half
    save(model, tmp_path / "a.gguf", format=format)
    _, tensors = contents(tmp_path / "a.gguf")
    head_name = "token_embd.weight" if tied else "output.weight"
    for name, weight in model.named_parameters():
        tensor = tensors.pop(names(TABLE, model.config)[name])
        storage = head if tensor.name == head_name else matrix
        if "norm" in name:
            storage = "F32"
        elif name.endswith("w2.weight") and storage.startswith("Q"):
            storage = "F16"
        assert tensor.tensor_type.name == storage, name
        values = weight.detach().float().numpy()
        expected = torch.from_numpy(gguf.quants.quantize(values, tensor.tensor_type))
        bits = expected.contiguous().view(torch.uint8).flatten()
        assert torch.equal(torch.tensor(tensor.data).contiguous().view(torch.uint8).flatten(), bits), name
    assert not tensors


def test_a_sentencepiece_vocabulary(real_data, tmp_path):
    model, tokenizer = load(real_data(STORIES))
    save(model, tmp_path / "a.gguf", format="gguf", tokenizer=tokenizer)
    metadata, _ = contents(tmp_path / "a.gguf")
    real, _ = contents(real_data("stories260K/stories260K.gguf"))
    for key in ("model", "tokens", "token_type", "bos_token_id", "eos_token_id", "unknown_token_id"):
        assert metadata[f"tokenizer.ggml.{key}"] == real[f"tokenizer.ggml.{key}"], key
    assert metadata["tokenizer.ggml.scores"] == [-max(0.0, i - 259) for i in range(512)]
    _, found = load(tmp_path / "a.gguf")
    assert found.encode(TEXT, bos=True, eos=True) == tokenizer.encode(TEXT, bos=True, eos=True)


def test_the_flags_and_roles_of_a_sentencepiece_vocabulary(tmp_path, tiny):
    plain = [Piece("<unk>", kind=Kind.UNKNOWN), Piece("<s>", kind=Kind.CONTROL), Piece("a"), Piece("▁", -1.0)]
    for dummy, collapse, pad in [(True, False, None), (False, True, 1)]:
        tokenizer = SentencePiece(
            plain, bos_id=None, eos_id=1, pad_id=pad, dummy_space=dummy, collapse_spaces=collapse
        )
        save(tiny(), tmp_path / "a.gguf", format="gguf", tokenizer=tokenizer)
        _, found = load(tmp_path / "a.gguf")
        assert isinstance(found, SentencePiece)
        assert (found.bos_id, found.eos_id, found.pad_id, len(found)) == (None, 1, pad, 4)
        assert (found.dummy_space, found.collapse_spaces) == (dummy, collapse)
        assert found.encode(" a  a") == tokenizer.encode(" a  a")


def test_a_byte_level_vocabulary(tmp_path, tiny, bpe):
    save(tiny(vocab_size=286), tmp_path / "a.gguf", format="gguf", tokenizer=bpe)
    metadata, _ = contents(tmp_path / "a.gguf")
    ggml = {name.removeprefix("tokenizer.ggml."): value for name, value in metadata.items()}
    assert (ggml["model"], ggml["pre"], ggml["add_bos_token"]) == ("gpt2", "llama-bpe", True)
    assert (ggml["bos_token_id"], ggml["eos_token_id"], ggml["padding_token_id"]) == (280, 281, 282)
    assert ggml["tokens"][32:34] == ["Ġ", "!"]
    assert ggml["tokens"][280:] == [*bpe.special_tokens, "[PAD283]", "[PAD284]", "[PAD285]"]
    assert ggml["token_type"] == [1] * 280 + [3] * 3 + [5] * 3
    assert {merge.replace(" ", "", 1) for merge in ggml["merges"]} == set(ggml["tokens"][256:280])
    _, found = load(tmp_path / "a.gguf")
    assert isinstance(found, BPE)
    assert (found.vocab, found.special_tokens, found.pattern) == (bpe.vocab, bpe.special_tokens, bpe.pattern)


def test_llama_3s_vocabulary_as_hugging_face_published_it(real_data):
    tokenizer = load_tokenizer(real_data("tokenizers/llama3/tokenizer.model"))
    merges = bpe_fields(tokenizer)["merges"]
    assert len(merges) == 280_147  # the merges of its tokenizer.json
    assert merges[:3] == ["Ġ Ġ", "Ġ ĠĠĠ", "ĠĠ ĠĠ"]


def test_our_tokens_cut_by_llama_3s_pattern(real_data):
    """llama.cpp knows Llama 3's way to cut words and not ours; on tales both give the same ids."""
    _, ours = load("base")
    theirs = load_tokenizer(real_data("tokenizers/llama3/tokenizer.model"))
    cut_alike = BPE(ours.vocab[: len(ours.ranks)], pattern=theirs.pattern)
    text = real_data("text/tinystories.txt").read_text()[:200_000]
    assert cut_alike.encode(text) == ours.encode(text)


def test_byte_level_vocabularies_of_another_kind_are_left_aside(tmp_path, tiny, bpe, monkeypatch):
    path, whole = tmp_path / "a.gguf", bpe_fields(bpe)

    def tokenizer_with(**changes):
        fields = {key: value for key, value in (whole | changes).items() if value is not None}
        monkeypatch.setattr(gguf_tokenizer, "bpe_fields", lambda _: fields)
        save(tiny(vocab_size=283), path, format="gguf", tokenizer=bpe)
        return load(path)[1]

    assert tokenizer_with() is not None
    assert tokenizer_with(pre="qwen2", **{OWN_PATTERN: None}) is None
    assert tokenizer_with(merges=whole["merges"][::-1]) is None
    assert tokenizer_with(merges=whole["merges"][1:]) is None
    assert tokenizer_with(token_type=[3] + [1] * 282) is None
    with pytest.raises(ValueError, match=r"a\.gguf: the tokenizer in its metadata cannot be read: 'nowhere'"):
        tokenizer_with(merges=["now here"])


def test_vocabularies_that_cannot_be_written(tmp_path, gqa, bpe):
    with pytest.raises(ValueError, match="tokenizer of 283 ids does not belong to a model of vocab_size=52"):
        save(gqa, tmp_path / "a.gguf", format="gguf", tokenizer=bpe)
    with pytest.raises(ValueError, match="a Tokenizer cannot be written"):
        save(gqa, tmp_path / "a.gguf", format="gguf", tokenizer=Tokenizer([b"a"], {}))
    assert not list(tmp_path.iterdir())


def test_stories_through_our_gguf_say_the_same(real_data, tmp_path):
    model, tokenizer = load(real_data(STORIES))
    save(model, tmp_path / "a.gguf", format="gguf", tokenizer=tokenizer)
    _, ours = contents(tmp_path / "a.gguf")
    _, real = contents(real_data("stories260K/stories260K.gguf"))
    output = real.pop("output.weight")  # theirs is written twice, ours is tied
    assert torch.equal(torch.tensor(output.data), torch.tensor(real["token_embd.weight"].data))
    assert ours.keys() == real.keys()
    for name, tensor in real.items():
        assert list(ours[name].shape) == list(tensor.shape)
        assert (ours[name].data == tensor.data).all()
