"""Make a bundled file again: `python -m llama_mini.assets tokenizer`, `base` or `draft`."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from llama_mini import Llama
from llama_mini.assets import base, draft
from llama_mini.assets.tokenizer import train_tokenizer
from llama_mini.tokenizer import load_tokenizer
from llama_mini.train import Step, TrainConfig


def make_tokenizer(folder: Path) -> None:
    """Train the tokenizer and write tokenizer.json (about two seconds)."""
    train_tokenizer().save(folder / "tokenizer.json")


def make_base(folder: Path) -> None:
    """Train the base model and write base.safetensors: about an hour on one core, resumed if interrupted."""
    model, tokenizer = base.new_base(), load_tokenizer(folder)
    finish(base.train_base(model, tokenizer, folder), model, folder / "base.safetensors", base.PHASES)


def make_draft(folder: Path) -> None:
    """Train the draft model and write draft.safetensors: about a quarter of an hour on one core."""
    model, tokenizer = draft.new_draft(), load_tokenizer(folder)
    finish(draft.train_draft(model, tokenizer, folder), model, folder / "draft.safetensors", [draft.TRAINING])


def finish(steps: Iterator[Step], model: Llama, path: Path, phases: Sequence[TrainConfig]) -> None:
    """Take all steps behind a bar, write the model with its figures, and remove the states of its run."""
    for step in (bar := tqdm(steps, total=sum(config.steps for config in phases))):
        bar.set_postfix(loss=f"{step.loss:.3f}", lr=f"{step.lr:.1e}")
    print(base.write(model, load_tokenizer(path.parent), path, phases))
    for state in path.parent.glob(f"{path.stem}.*state"):
        state.unlink()


RECIPES = {"tokenizer": make_tokenizer, "base": make_base, "draft": make_draft}


def main() -> None:
    """Run one recipe and write its file beside the bundled ones, or into the folder named by --out."""
    parser = argparse.ArgumentParser(prog="python -m llama_mini.assets", description=__doc__)
    parser.add_argument("recipe", choices=RECIPES)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder to write into")
    arguments = parser.parse_args()
    RECIPES[arguments.recipe](arguments.out)


if __name__ == "__main__":
    main()
