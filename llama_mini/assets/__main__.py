"""Make a bundled file again: `python -m llama_mini.assets tokenizer` or `base`."""

import argparse
from pathlib import Path

from tqdm import tqdm

from llama_mini.assets.base import PHASES, new_base, train_base, write_base
from llama_mini.assets.tokenizer import train_tokenizer
from llama_mini.tokenizer import load_tokenizer


def make_tokenizer(folder: Path) -> None:
    """Train the tokenizer and write tokenizer.json (about two seconds)."""
    train_tokenizer().save(folder / "tokenizer.json")


def make_base(folder: Path) -> None:
    """Train the base model and write base.safetensors: about an hour on one core, resumed if interrupted."""
    model, tokenizer = new_base(), load_tokenizer(folder)
    for step in (bar := tqdm(train_base(model, tokenizer, folder), total=sum(c.steps for c in PHASES))):
        bar.set_postfix(loss=f"{step.loss:.3f}", lr=f"{step.lr:.1e}")
    print(write_base(model, tokenizer, folder / "base.safetensors"))
    for state in folder.glob("base.*.state"):
        state.unlink()


RECIPES = {"tokenizer": make_tokenizer, "base": make_base}


def main() -> None:
    """Run one recipe and write its file beside the bundled ones, or into the folder named by --out."""
    parser = argparse.ArgumentParser(prog="python -m llama_mini.assets", description=__doc__)
    parser.add_argument("recipe", choices=RECIPES)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder to write into")
    arguments = parser.parse_args()
    RECIPES[arguments.recipe](arguments.out)


if __name__ == "__main__":
    main()
