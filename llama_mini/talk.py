"""The commands that make a model speak: python -m llama_mini generate · chat."""

import sys
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Annotated

import torch
import typer
from tqdm import tqdm

from llama_mini import doctor as machine
from llama_mini.chat import Conversation
from llama_mini.checkpoint import load
from llama_mini.generate import Sampling, stream
from llama_mini.model import Llama
from llama_mini.tokenizer import Tokenizer, load_tokenizer
from llama_mini.tokenizer.chat import TEMPLATES

Option = typer.Option
BAR = partial(tqdm, desc="loading", unit="tensor", delay=1, leave=False, disable=None)  # on a terminal


def known_device(name: str) -> str:
    """The name, if this machine has such a device."""
    found = machine.devices()
    if name not in found and name not in (device.split(":")[0] for device in found):
        raise typer.BadParameter(f"there is no {name!r} here; this machine has {', '.join(found)}")
    return name


Device = Annotated[str, Option(callback=known_device, help="Where to compute: cpu, cuda, cuda:1, mps, ...")]
Weights = Annotated[str, Option(help="A file or folder of weights, or a bundled model.")]
TokenizerFile = Annotated[Path | None, Option(help="Its file, where it is not beside the weights.")]
NewTokens = Annotated[int, Option(min=1, help="Stop after so many tokens.")]
Temperature = Annotated[float, Option(help="0 always takes the likeliest token.")]
TopK = Annotated[int | None, Option(help="Draw from the k likeliest tokens.")]
TopP = Annotated[float | None, Option(help="Draw from the likeliest with this much probability.")]
MinP = Annotated[float | None, Option(help="Drop what has less than this share of the best.")]
Repetition = Annotated[float, Option(help="Above 1, what was said becomes less likely.")]
Seed = Annotated[int | None, Option(help="The same seed, the same text.")]


def generate_text(
    weights: Weights = "base",
    prompt: Annotated[str, Option(help="The text to continue.")] = "",
    tokenizer: TokenizerFile = None,
    max_new_tokens: NewTokens = 200,
    temperature: Temperature = 1.0,
    top_k: TopK = None,
    top_p: TopP = None,
    min_p: MinP = None,
    repetition_penalty: Repetition = 1.0,
    seed: Seed = None,
    device: Device = "cpu",
) -> None:
    """Continue a text, on stdout, token by token.

    \b
    A tale:            python -m llama_mini generate --seed 1
    Your own opening:  python -m llama_mini generate --prompt "Once there was a goat" --temperature 0.7
    Real weights:      python -m llama_mini generate --weights Llama-2-7b/ --prompt "A llama is" --device cuda
    """
    model, tok = open_model(weights, tokenizer, device)
    sampling = Sampling(
        repetition_penalty=repetition_penalty, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p
    )
    text = tok.encode(prompt)
    begin = text if tok.bos_id is None else [tok.bos_id, *text]
    rows = stream(
        model, [begin], sampling,
        max_new_tokens=max_new_tokens, stop=tok.stop_ids, generator=seeded(seed),
    )  # fmt: skip
    for piece in tok.stream_decode(chain(text, (row[0] for row in rows if row[0] is not None))):
        print(piece, end="", flush=True)


def chat(
    weights: Weights = "base",
    template: Annotated[
        str | None,
        Option(show_default="llama-3 where the vocabulary has its markers", help=", ".join(TEMPLATES) + "."),
    ] = None,
    system: Annotated[str | None, Option(help="A text that stands before the conversation.")] = None,
    tokenizer: TokenizerFile = None,
    max_new_tokens: Annotated[int, Option(min=1, help="Tokens of an answer, at most.")] = 100,
    temperature: Temperature = 0.7,
    top_p: TopP = None,
    seed: Seed = None,
    device: Device = "cpu",
) -> None:
    """Talk with a model, a line at a time; /quit ends. Without a terminal, every line of stdin is a question.

    \b
    The bundled model was never taught to answer, and asks back:
      python -m llama_mini chat
    Models that were:
      python -m llama_mini chat --weights Meta-Llama-3-8B-Instruct/ --device cuda
      python -m llama_mini chat --weights Llama-2-7b-chat/ --template llama-2 --system "Answer in verse."
    """
    model, tok = open_model(weights, tokenizer, device)
    talk = Conversation(
        model, tok, template=template, system=system, sampling=Sampling(temperature=temperature, top_p=top_p),
        max_new_tokens=max_new_tokens, generator=seeded(seed),
    )  # fmt: skip
    for question in questions():
        try:
            for piece in talk.answer(question):
                print(piece, end="", flush=True)
            print()
        except ValueError as error:  # this question cannot be asked; the next one may
            print("error:", error, file=sys.stderr)


def questions() -> Iterator[str]:
    """The lines that a user types, up to /quit or the end of the input; empty ones are passed over."""
    lines = iter(lambda: input("> "), "/quit") if sys.stdin.isatty() else sys.stdin
    try:
        for line in lines:
            if line.strip() == "/quit":
                return
            if line.strip():
                yield line.strip()
    except EOFError:  # Ctrl-D
        print()


def open_model(weights: str, tokenizer: Path | None, device: str) -> tuple[Llama, Tokenizer]:
    """A model and its tokenizer, from a file of its own if named; ValueError if there is none."""
    model, beside = load(weights, device=device, progress=BAR)
    tok = load_tokenizer(tokenizer) if tokenizer else beside
    if tok is None:
        raise ValueError(f"there is no tokenizer beside {weights}: name its file with --tokenizer")
    return model, tok


def seeded(seed: int | None) -> torch.Generator:
    """A generator with this seed, or with one of its own."""
    generator = torch.Generator()
    generator.manual_seed(generator.seed() if seed is None else seed)
    return generator
