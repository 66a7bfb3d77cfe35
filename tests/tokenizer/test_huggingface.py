"""tokenizer.json: transformers reads ours with equal ids, and we read theirs, on hard strings."""

import json
import random
from pathlib import Path

import pytest

from llama_mini import CONFIGS
from llama_mini.checkpoint.huggingface_config import write_config
from llama_mini.tokenizer import BPE, SentencePiece, Tokenizer, load_tokenizer
from llama_mini.tokenizer.huggingface import OtherTokenizer
from llama_mini.tokenizer.huggingface_write import tokenizer_config, tokenizer_json
from llama_mini.tokenizer.merges import alphabet, printable, unprintable
from llama_mini.tokenizer.sentencepiece import Kind, Piece
from llama_mini.tokenizer.tiktoken import LLAMA3_SPECIALS

REAL = {
    "llama2": "tokenizers/llama2/tokenizer.model",
    "llama3": "tokenizers/llama3/tokenizer.model",
    "stories": "stories260K/tok512.model",
}
HARD = [
    *("", " ", "  ", "a  b ", "  two before", "after  ", "\n\n \n", "\t\ttab", "a\u00a0b\u3000c", "\r\n x"),
    *(
        "1234567890 3.14",
        "don'T 'S we'll",
        "naïve café",
        "ﬁ ﷺ ½",
        "\x00\x01",
        "<0x0A>",
        "ababababa",
        "aaaaaaa",
    ),
    *("你好，世界！", "龍の国 한국어", "🦙👩‍👩‍👧‍👦🇨🇳", "▁a▁ b▁", "Füße, 你好!\n", "e\u0301", "x" * 300),
]


def write(tokenizer: Tokenizer, folder: Path) -> Path:
    """The files of a Hugging Face folder that concern the tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(tokenizer_json(tokenizer), ensure_ascii=False), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer_config(tokenizer, 99)))
    write_config(folder / "config.json", CONFIGS["llama-3-8b"], "float32", tokenizer)
    return path


def noise() -> list[str]:
    """Texts of letters that often join, spaces, marks and characters of several bytes."""
    rng = random.Random(0)
    return [
        "".join(rng.choices("aabthe ▁  \n\t,.'sS1239é你好龍🦙ßΩ\r", k=rng.randint(1, 30))) for _ in range(150)
    ]


@pytest.fixture(scope="module", params=["ours", *REAL])
def pair(request, real_data, tmp_path_factory) -> tuple[Tokenizer, Path]:
    """A tokenizer, and the tokenizer.json written of it."""
    ours = Path(__file__).parents[2] / "llama_mini" / "assets" / "tokenizer.json"
    tokenizer = load_tokenizer(ours if request.param == "ours" else real_data(REAL[request.param]))
    return tokenizer, write(tokenizer, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def theirs(pair):
    transformers = pytest.importorskip("transformers", reason="needs transformers (extra: book)")
    return transformers.AutoTokenizer.from_pretrained(pair[1].parent)


def test_transformers_gives_the_same_ids(pair, theirs):
    tokenizer = pair[0]
    marks = [name for name in list(tokenizer.special_tokens)[:3] if name != "<unk>"]
    for text in [*HARD, *noise(), *marks, "a ".join([*marks, " b", *marks])]:
        assert theirs(text)["input_ids"] == tokenizer.encode(text, bos=True, special=True), text
        plain = theirs(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        assert plain == tokenizer.encode(text), text
        if "▁" not in text:  # which stands for the space, so that it does not come back
            assert theirs.decode(plain, skip_special_tokens=True) == tokenizer.decode(plain)


def test_transformers_knows_size_and_roles(pair, theirs):
    tokenizer = pair[0]
    assert len(theirs) == len(tokenizer)
    assert theirs.model_max_length == 99
    roles = (theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id)
    assert roles == (tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id)


def test_what_was_written_comes_back(pair):
    tokenizer, path = pair
    back = load_tokenizer(path)
    assert type(back) is type(tokenizer)
    assert [back.token_bytes(i) for i in range(len(back))] == tokenizer.vocab
    for role in ("bos_id", "eos_id", "pad_id", "stop_ids", "special_tokens"):
        assert getattr(back, role) == getattr(tokenizer, role), role
    for text in [*HARD, *noise(), "<|eot_id|></s>"]:
        assert back.encode(text, special=True) == tokenizer.encode(text, special=True), text
        assert back.encode(text) == tokenizer.encode(text), text
    noisy = b"\xff\x00 \xe4\xbd"
    assert back.decode_bytes(back.encode(noisy)) == noisy or back.collapse_spaces


@pytest.mark.parametrize("name", ["llama2", "llama3"])
def test_public_cases_hold_after_the_trip(real_data, tmp_path, name):
    back = load_tokenizer(write(load_tokenizer(real_data(REAL[name])), tmp_path))
    public = real_data(f"tokenizers/{name}/cases.json").read_text(encoding="utf-8")
    for case in json.loads(public)["cases"]:
        assert back.encode(case["text"]) == case["ids"], case["text"]


def test_the_file_that_transformers_makes_of_llama_3(real_data, tmp_path):
    converters = pytest.importorskip("transformers.convert_slow_tokenizer")
    model = real_data(REAL["llama3"])
    converter = converters.TikTokenConverter(vocab_file=str(model), extra_special_tokens=LLAMA3_SPECIALS)
    converter.converted().save(str(tmp_path / "tokenizer.json"))
    theirs, ours = load_tokenizer(tmp_path / "tokenizer.json"), load_tokenizer(model)
    assert theirs.vocab == ours.vocab
    for text in HARD:
        assert theirs.encode(text) == ours.encode(text)


def test_the_alphabet_of_bytes():
    assert len(set(alphabet().values())) == 256
    assert printable(b" a\n\xff") == "ĠaĊÿ"
    assert unprintable(printable(bytes(range(256)))) == bytes(range(256))
    with pytest.raises(ValueError, match="stands for no byte"):
        unprintable("a b")


@pytest.fixture
def small(tmp_path) -> Path:
    return write(BPE.train(["a low tide"] * 9, 261, special_tokens=["<|end_of_text|>", "<|x|>"]), tmp_path)


def set_field(content, place, value) -> None:
    for key in place[:-1]:
        content = content[key]
    content[place[-1]] = value


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (["model", "type"], "Unigram", "type 'Unigram'"),
        (["model", "merges"], ["l o", "o w"], r"its 2 merges are not the \d+"),
        (["normalizer"], {"type": "Lowercase"}, "one pattern"),
        (
            ["pre_tokenizer"],
            {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
            "one pattern",
        ),
        (["pre_tokenizer", "pretokenizers", 0, "invert"], True, "one pattern"),
        (["pre_tokenizer"], {"type": "Whitespace"}, "applies Whitespace.*tokenizer.model"),
        (["added_tokens", 1, "id"], 270, "'<|x|>' has id 270, expected 260"),
        (["added_tokens", 0, "content"], "a", "do not come after all others|has id"),
    ],
)
def test_other_pipelines_are_refused(small, place, value, words):
    content = json.loads(small.read_text(encoding="utf-8"))
    set_field(content, place, value)
    small.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ValueError, match=words.replace("|x|", r"\|x\|")) as error:
        load_tokenizer(small)
    assert str(small) in str(error.value)


def test_merges_out_of_order_are_refused(small):
    content = json.loads(small.read_text(encoding="utf-8"))
    content["model"]["merges"].reverse()
    small.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(OtherTokenizer, match=r"order of their ids|mix their pieces"):
        load_tokenizer(small)


def test_a_character_that_is_no_byte_is_named(small):
    small.write_text(small.read_text(encoding="utf-8").replace('"Ā"', '"€"'), encoding="utf-8")
    with pytest.raises(ValueError, match="'€' holds '€', which stands for no byte"):
        load_tokenizer(small)


def test_a_file_cut_short_is_named(small):
    small.write_bytes(small.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"tokenizer.json is not json.*fetch it again"):
        load_tokenizer(small)


def test_roles_come_from_the_files_beside(small):
    (small.parent / "generation_config.json").write_text('{"eos_token_id": [260, 259]}')
    (small.parent / "tokenizer_config.json").write_text(
        '{"bos_token": {"content": "<|x|>"}, "pad_token": "<|x|>"}'
    )
    tokenizer = load_tokenizer(small)
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id) == (260, 259, 260)
    assert tokenizer.stop_ids == {259, 260}


def test_metaspace_is_refused(tmp_path):
    """It puts no space before a text that begins with one, which changes the ids of such texts."""
    pieces = [
        Piece("<unk>", kind=Kind.UNKNOWN),
        Piece("<s>", kind=Kind.CONTROL),
        Piece("</s>", kind=Kind.CONTROL),
    ]
    path = write(SentencePiece([*pieces, Piece("▁"), Piece("a"), Piece("▁a", -1.0)]), tmp_path)
    assert load_tokenizer(path).encode(" a") == [3, 5]
    content = json.loads(path.read_text(encoding="utf-8"))
    content["normalizer"] = None
    content["pre_tokenizer"] = {
        "type": "Metaspace",
        "replacement": "▁",
        "prepend_scheme": "first",
        "split": False,
    }
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(OtherTokenizer, match=r"applies Metaspace; .* take the tokenizer\.model"):
        load_tokenizer(path)


def test_user_defined_pieces_cannot_be_written():
    pieces = [Piece("<unk>", kind=Kind.UNKNOWN), Piece("a"), Piece("<b>", kind=Kind.USER_DEFINED)]
    with pytest.raises(ValueError, match="1 pieces, such as '<b>', are user-defined"):
        tokenizer_json(SentencePiece(pieces, bos_id=None, eos_id=None))
    with pytest.raises(ValueError, match="a Tokenizer cannot be written"):
        tokenizer_json(Tokenizer([b"a"], {}))
