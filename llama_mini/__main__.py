"""The command line: python -m llama_mini generate · chat · info · convert · train · bench · doctor.

Text goes to stdout, everything else to stderr. A user's mistake is one line there; the exit code is 2 for a
wrong command line, 1 for what cannot be done.
"""

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import torch

from llama_mini import bench as speed
from llama_mini import doctor as machine
from llama_mini.checkpoint import ASSETS, FORMATS, load, save
from llama_mini.config import find_config
from llama_mini.data.corpus import fingerprint, write_tokens
from llama_mini.info import about
from llama_mini.pretrain.launch import processes, start
from llama_mini.pretrain.log import tensorboard as write_log
from llama_mini.pretrain.run import check_settings
from llama_mini.report import write_report
from llama_mini.tokenizer import load_tokenizer
from llama_mini.train import TrainConfig

try:
    import typer
    from tqdm import tqdm

    from llama_mini.talk import BAR, Device, Option, chat, generate_text
except ImportError as error:
    sys.exit(f"the command line needs {error.name}: pip install 'llama-mini[cli]'")

UsageError: Any = typer.BadParameter.__base__  # every wrong command line; typer has no public name for it
TOKENIZER = ASSETS / "tokenizer.json"
ENDINGS = {".safetensors": "native", ".gguf": "gguf", ".bin": "llama2c"}  # any other target is a folder

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.callback()
def llama_mini() -> None:
    """Build LLaMA piece by piece: run, measure, convert and train its models from the command line.

    \b
    Begin with
      python -m llama_mini generate                    a tale from the bundled model
      python -m llama_mini doctor                      what this machine can do
      python -m llama_mini generate --help             more of any command
    """


app.command("generate")(generate_text)
app.command()(chat)


@app.command()
def info(model: Annotated[str, typer.Argument(help="A member of the family, or a file or folder.")]) -> None:
    """The size of a model: parameters, memory, KV cache, arithmetic.

    \b
    A member of the family:  python -m llama_mini info llama-2-70b
    Weights on this disk:    python -m llama_mini info stories260K.bin
    """
    for name, value in about(model).items():
        print(f"{name:<22}{value}")


@app.command()
def convert(
    source: Annotated[str, typer.Argument(help="Weights in any format that is read here.")],
    target: Annotated[Path, typer.Argument(help="A .safetensors, .gguf or .bin file, or a folder.")],
    format: Annotated[
        str | None, Option(show_default="by the target's ending", help=", ".join(FORMATS) + ".")
    ] = None,
    shards: Annotated[int, Option(min=1, help="Files to spread the weights over, in a folder.")] = 1,
) -> None:
    """Write a model, and its tokenizer, in another format.

    \b
    For transformers and vLLM:  python -m llama_mini convert base my-model/
    For llama.cpp:              python -m llama_mini convert Llama-2-7b/ llama.gguf --format gguf-q8_0
    To one file of ours:        python -m llama_mini convert Llama-2-7b/ llama-2-7b.safetensors
    """
    format = format or ENDINGS.get(target.suffix, "huggingface")
    model, tokenizer = load(source, progress=BAR)
    save(model, target, format=format, tokenizer=tokenizer, shards=shards)
    print(f"wrote {target} ({format})", file=sys.stderr)


@app.command("train")
def train_model(
    data: Annotated[str, Option(help="A .txt, .jsonl or .parquet file, a folder, or hf:owner/name.")],
    out: Annotated[Path, Option(help="The folder of this run.")],
    config: Annotated[str, Option(help="The model's shape, by name.")] = "mini-1m",
    steps: Annotated[int, Option(help="Updates of the weights.")] = 1000,
    lr: Annotated[float, Option(help="The highest learning rate.")] = 1e-3,
    rows: Annotated[int, Option(min=1, help="Windows of text in a batch.")] = 16,
    length: Annotated[
        int | None, Option(min=1, show_default="its context", help="Tokens in a window.")
    ] = None,
    accumulate: Annotated[int, Option(help="Batches in an update.")] = 1,
    bf16: Annotated[bool, Option(help="Compute in bfloat16 where it is safe.")] = False,
    seed: Annotated[int, Option(min=0, help="Of the first weights and the windows.")] = 0,
    save_every: Annotated[int, Option(min=1, help="Steps between two states on disk.")] = 100,
    tokenizer: Annotated[
        Path, Option(show_default="the bundled one", help="A tokenizer's file.")
    ] = TOKENIZER,
    device: Device = "cpu",
    parallel: Annotated[
        str | None, Option(show_default="ddp under torchrun", help="How processes share: ddp, fsdp or tp.")
    ] = None,
    tensorboard: Annotated[bool, Option(help="Write a log for TensorBoard into the run's folder.")] = False,
) -> None:
    """Train a model on your text. The same command again goes on after an interruption.

    \b
    A first try:   python -m llama_mini train --data shakespeare.txt --out runs/will --steps 500
    Read it:       python -m llama_mini generate --weights runs/will/model.safetensors
    Four GPUs:     torchrun --nproc-per-node 4 -m llama_mini train --device cuda --parallel fsdp --data ...
    """
    tok = load_tokenizer(tokenizer)
    shape = replace(find_config(config), vocab_size=tok.vocab_size)
    training = TrainConfig(steps=steps, lr=lr, accumulate=accumulate, bf16=bf16)
    settings: dict[str, Any] = {
        "config": shape, "training": training, "rows": rows, "length": length or shape.max_seq_len,
        "seed": seed, "save_every": save_every,
    }  # fmt: skip
    tokens = out / "tokens.bin"  # the run's own copy of its text, mapped; to go on it is not encoded again
    with processes(parallel, device) as mesh:
        first = mesh is None or mesh.get_local_rank() == 0  # of several, one speaks and prepares
        if first:
            print(f"reading {data}; the model has {shape.n_params:,} parameters", file=sys.stderr)
            digests = {"text_sha256": fingerprint(data), "tokenizer_sha256": fingerprint(tokenizer)}
            check_settings(out / "data.json", digests)
            if not tokens.exists():
                write_tokens(data, tok, tokens)
        run = start(tokens, tok, out, mesh, parallel, device, settings)
        if tensorboard and first:
            run = write_log(run, out / "tensorboard")
        with tqdm(total=steps, unit="step", delay=0.01, disable=not first) as bar:
            for step in run:
                bar.set_postfix_str(f"loss {step.loss:.3f}", refresh=False)
                bar.update(step.index - bar.n)
    if first:
        print(f"wrote {out / 'model.safetensors'}", file=sys.stderr)


@app.command()
def bench(
    out: Annotated[Path | None, Option(help="A folder for the report; without it, only the screen.")] = None,
    compile: Annotated[bool, Option(help="Decode and train through torch.compile.")] = True,
    device: Device = "cpu",
) -> None:
    """How fast this machine runs a Llama, beside how fast its memory and its arithmetic allow.

    \b
    A GPU of 40 GiB and more runs the shape of Llama 2 7B, with random weights; other machines a small one.
    To keep it:  python -m llama_mini bench --device cuda --out results
    """
    rows = []
    for row in speed.measure(device, speed.plan_for(device), compile=compile):
        print(row, flush=True)
        rows.append(row)
    if out is not None:
        print(f"wrote {write_report(rows, device, out)}", file=sys.stderr)


@app.command()
def doctor() -> None:
    """What this machine can run, whether it computes rightly, and how fast."""
    healthy = True
    for line, well in machine.examine():
        print(line, flush=True)
        healthy = healthy and well
    if not healthy:
        raise typer.Exit(1)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit code."""
    try:
        arguments = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
        return app(arguments, prog_name="python -m llama_mini", standalone_mode=False) or 0
    except BrokenPipeError:  # whoever read our text has gone, as in `... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except UsageError as error:
        code, message = 2, error.format_message()
    except (ValueError, OSError, ImportError, FloatingPointError, torch.OutOfMemoryError) as error:
        code, message = 1, str(error)
    except (KeyboardInterrupt, typer.Abort):
        code, message = 130, "stopped"
    print("error:", " ".join(message.split()), file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
