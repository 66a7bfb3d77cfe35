"""One door for every file; what is no tokenizer is named, with what would be one."""

import subprocess
import sys

import pytest

from llama_mini.tokenizer import BPE, find_tokenizer, load_tokenizer


def test_a_folder_means_the_tokenizer_in_it(tmp_path):
    BPE.train([], 256).save(tmp_path / "tokenizer.json")
    assert find_tokenizer(tmp_path) == tmp_path / "tokenizer.json"
    assert len(load_tokenizer(tmp_path)) == 256
    assert find_tokenizer(tmp_path / "nowhere") is None


def test_a_model_file_goes_before_its_exports(real_data):
    folder = real_data("stories260K/tok512.model").parent
    assert find_tokenizer(folder) == folder / "tok512.model"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no tokenizer known"),
        (b"version https://git-lfs.github.com/spec/v1\n", "no tokenizer known"),
        (b"PK\x03\x04 and so on", "no tokenizer known"),
        (b'{"model": {"type": "BPE"}}', "a tokenizer of type 'BPE'"),
        (b'{"pattern": ".", ', "Expecting property name"),
    ],
)
def test_other_files_are_refused_by_name(tmp_path, content, message):
    path = tmp_path / "some.file"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        load_tokenizer(path)
    assert str(path) in str(error.value)


def test_an_empty_folder_and_a_missing_file(tmp_path):
    with pytest.raises(ValueError, match="no tokenizer in this folder; looked for tokenizer"):
        load_tokenizer(tmp_path)
    with pytest.raises(FileNotFoundError):
        load_tokenizer(tmp_path / "tokenizer.model")


def test_reading_needs_neither_library():
    code = (
        "import sys, llama_mini.tokenizer; sys.exit(bool({'sentencepiece', 'tiktoken'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
