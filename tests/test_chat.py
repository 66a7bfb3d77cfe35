"""Talking with a model: what it reads each time, what is kept, and the command."""

import io
import sys

import pytest
import torch

from llama_mini import Config, Llama
from llama_mini import chat as chat_module
from llama_mini.__main__ import main
from llama_mini.chat import Conversation
from llama_mini.checkpoint import ASSETS, save
from llama_mini.generate import Sampling, generate
from llama_mini.tokenizer import BPE, load_tokenizer
from llama_mini.tokenizer.chat import chat_prompt, encode_chat

GREEDY = Sampling(temperature=0)
SHAPE = {"dim": 16, "n_layers": 1, "n_heads": 2, "n_kv_heads": 1, "ffn_dim": 32}


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(ASSETS / "tokenizer.json")


@pytest.fixture
def model(tokenizer):
    torch.manual_seed(0)
    return Llama(Config(**SHAPE, vocab_size=tokenizer.vocab_size, max_seq_len=120))


@pytest.fixture
def scripted(tokenizer, monkeypatch):
    """Every answer is "五 geese! "; the list is of the prompts that were read."""
    prompts = []

    def stream(model, rows, sampling, *, max_new_tokens, stop, generator):
        prompts.extend(rows)
        return ([token] for token in tokenizer.encode("五 geese! "))

    monkeypatch.setattr(chat_module, "stream", stream)
    return prompts


def user(content: str) -> dict:
    return {"role": "user", "content": content}


def assistant(content: str) -> dict:
    return {"role": "assistant", "content": content}


def test_an_answer_is_what_generate_says_after_the_prompt(model, tokenizer):
    talk = Conversation(model, tokenizer, sampling=GREEDY, max_new_tokens=12)
    prompt = chat_prompt(tokenizer, [user("Why?")], "llama-3")
    (expected,) = generate(model, [prompt], GREEDY, max_new_tokens=12, stop=tokenizer.stop_ids)
    said = "".join(talk.answer("Why?"))
    assert said == tokenizer.decode(expected)
    assert talk.messages == [user("Why?"), assistant(said.strip())]


def test_a_token_that_ends_the_turn_is_not_said(model, tokenizer, monkeypatch):
    eot = tokenizer.special_tokens["<|eot_id|>"]
    monkeypatch.setattr(model, "head", lambda x: 99 * torch.eye(tokenizer.vocab_size)[[eot]])
    talk = Conversation(model, tokenizer, max_new_tokens=9)
    assert list(talk.answer("Why?")) == []
    assert talk.messages == [user("Why?"), assistant("")]


def test_the_next_prompt_begins_with_the_conversation_so_far(model, tokenizer, scripted):
    talk = Conversation(model, tokenizer, system="Be brief.", max_new_tokens=10)
    assert "".join(talk.answer("How many?")) == "五 geese! "
    list(talk.answer("Sure?"))
    past = [{"role": "system", "content": "Be brief."}, user("How many?"), assistant("五 geese!")]
    assert scripted == [
        chat_prompt(tokenizer, past[:2], "llama-3"),
        chat_prompt(tokenizer, [*past, user("Sure?")], "llama-3"),
    ]
    ids, _ = encode_chat(tokenizer, past, "llama-3")
    assert scripted[1][: len(ids)] == ids


def test_the_oldest_rounds_are_forgotten_when_the_context_is_full(model, tokenizer, scripted):
    talk = Conversation(model, tokenizer, system="Be brief.", max_new_tokens=20)
    system = {"role": "system", "content": "Be brief."}
    said = []
    for i in range(9):
        question = f"Question {i}?" + " Why?" * (7 * i % 5)
        list(talk.answer(question))
        said += [user(question), assistant("五 geese!")]
        fitting = (  # whole rounds from the k-th on, and the question
            prompt
            for k in range(i + 1)
            if len(prompt := chat_prompt(tokenizer, [system, *said[2 * k : -1]], "llama-3")) <= 120 - 20
        )
        assert scripted[i] == next(fitting)
    assert talk.messages[0]["role"] == "user"
    assert 4 <= len(talk.messages) < len(said) - 4


def test_a_question_that_cannot_be_asked_changes_nothing(model, tokenizer):
    talk = Conversation(model, tokenizer, sampling=GREEDY, max_new_tokens=4)
    list(talk.answer("Why?"))
    before = list(talk.messages)
    with pytest.raises(ValueError, match="model's context is 120"):
        next(talk.answer("why " * 120))
    assert talk.messages == before


def test_alpaca_has_no_past(model, tokenizer, scripted):
    talk = Conversation(model, tokenizer, template="alpaca", max_new_tokens=4)
    list(talk.answer("Add."))
    list(talk.answer("Subtract."))
    assert scripted[1] == chat_prompt(tokenizer, [user("Subtract.")], "alpaca")
    assert talk.messages == [user("Subtract."), assistant("五 geese!")]


@pytest.fixture
def command(tmp_path, model, tokenizer, monkeypatch, capsys):
    """Run `chat` on what a user typed: exit code, stdout, lines of stderr."""
    save(model, tmp_path / "tiny.safetensors", tokenizer=tokenizer)

    def run(typed: str, *arguments: str) -> tuple[int, str, list[str]]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        words = ["--weights", str(tmp_path / "tiny.safetensors"), "--max-new-tokens", "8", *arguments]
        code = main(["chat", *words])
        out, err = capsys.readouterr()
        return code, out, err.splitlines()

    return run


def test_every_line_gets_an_answer_up_to_quit(command, scripted):
    assert command("How many?\n\n  \nSure?\n/quit\nMore?\n") == (0, "五 geese! \n五 geese! \n", [])
    assert len(scripted) == 2
    assert command("") == (0, "", [])


def test_a_seed_fixes_the_conversation(command):
    typed = "Why?\nWhy not?\n"
    assert command(typed, "--seed", "1") == command(typed, "--seed", "1")
    assert len({command(typed, "--seed", str(seed))[1] for seed in range(3)}) > 1


def test_after_a_question_that_is_refused_the_next_one_is_answered(command, scripted):
    code, out, err = command("Hi [INST] there\nSure?\n", "--template", "llama-2")
    assert (code, out) == (0, "五 geese! \n")
    assert len(err) == 1
    assert err[0].startswith("error: message 0 contains [INST]")


@pytest.mark.parametrize("last", ["/quit", None])
def test_a_terminal_asks_until_quit_or_the_end_of_input(command, scripted, monkeypatch, last):
    typed = iter(["How many?", "", last])

    def ask(sign: str) -> str:
        assert sign == "> "
        if (line := next(typed)) is None:
            raise EOFError
        return line

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("builtins.input", ask)
    monkeypatch.setattr(io, "StringIO", Terminal)
    ended = "" if last else "\n"
    assert command("") == (0, "五 geese! \n" + ended, [])


def test_wrong_templates_are_one_line(command, tmp_path, capsys):
    code, out, err = command("Hi\n", "--template", "llama-4")
    assert (code, out) == (1, "")
    assert "choose one of alpaca, vicuna, llama-2, llama-3" in err[-1]
    plain = BPE.train(["The goat ate."], 258, special_tokens=["<|begin_of_text|>"])
    save(Llama(Config(**SHAPE, vocab_size=258, max_seq_len=32)), tmp_path / "p.safetensors", tokenizer=plain)
    assert main(["chat", "--weights", str(tmp_path / "p.safetensors")]) == 1
    assert "of 258 has no chat markers: name the template" in capsys.readouterr().err


def test_the_bundled_model_answers_a_question_with_questions(command):
    """It has read users, and nobody who answered them: what chapter 23 changes."""
    code, out, err = command("What does a goat eat?\n", "--weights", "base", "--temperature", "0")
    assert (code, err) == (0, [])
    assert out.strip().endswith("?")
