"""Decoding and training against transformers' LlamaForCausalLM, same shapes, same process, in turn.

Prints JSON: python benchmarks/cpu.py [--rounds 7] [--threads 2]. Ratios above 1 are in our favour;
transformers runs eagerly, as its `generate` does unless told otherwise.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from copy import deepcopy
from datetime import date

import torch
import torch.nn.functional as F
import transformers

from llama_mini import CONFIGS, Config, Llama, generate
from llama_mini.generate import Sampling
from llama_mini.surgery import fuse


def reference(config: Config) -> transformers.LlamaForCausalLM:
    """transformers' model of the same shape, random weights."""
    return transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.dim,
            intermediate_size=config.ffn_dim,
            num_hidden_layers=config.n_layers,
            num_attention_heads=config.n_heads,
            num_key_value_heads=config.n_kv_heads,
            max_position_embeddings=config.max_seq_len,
            rms_norm_eps=config.norm_eps,
            tie_word_embeddings=config.tie_embeddings,
        )
    )


def compare(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, dict[str, float]]:
    """Median seconds of each run, all in turn in every round, and the median of transformers' over its own.

    One thread is timed by the processor's clock, which does not run while others use the core.
    """
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds + 1):
        for name, run in runs.items():
            start = clock()
            run()
            times[name].append(clock() - start)
    theirs = times["transformers"][1:]  # the first round warms up, and compiles
    return {
        name: {
            "seconds": statistics.median(ours[1:]),
            "ratio": statistics.median(a / b for a, b in zip(theirs, ours[1:], strict=True)),
        }
        for name, ours in times.items()
    }


def decode(config: Config, rounds: int) -> dict[str, dict[str, float]]:
    """Greedy decoding of 64 tokens at batch 1."""
    model, theirs = Llama(config).eval(), reference(config).eval()
    fused = fuse(deepcopy(model))
    prompt = list(range(1, 9))
    greedy = Sampling(temperature=0)

    def their_run() -> None:
        with torch.inference_mode():
            ids = torch.tensor([prompt])
            theirs.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=64,
                min_new_tokens=64,
                do_sample=False,
                pad_token_id=0,
            )

    return compare(
        {
            "transformers": their_run,
            "eager": lambda: generate(model, [prompt], greedy, max_new_tokens=64),
            "fused": lambda: generate(fused, [prompt], greedy, max_new_tokens=64),
            "compiled": lambda: generate(model, [prompt], greedy, max_new_tokens=64, compile=True),
            "fused and compiled": lambda: generate(fused, [prompt], greedy, max_new_tokens=64, compile=True),
        },
        rounds,
    )


def train_step(config: Config, rounds: int) -> dict[str, dict[str, float]]:
    """Forward, backward and AdamW on 8 x 256 tokens, float32."""
    tokens = torch.randint(config.vocab_size, (8, 257))

    def stepper(model: torch.nn.Module, logits: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[], None]:
        optimizer = torch.optim.AdamW(model.parameters(), fused=True)

        def step() -> None:
            loss = F.cross_entropy(logits(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

        return step

    ours, compiled, theirs = Llama(config), Llama(config), reference(config)
    compiled.compile()
    return compare(
        {
            "transformers": stepper(theirs, lambda x: theirs(input_ids=x, use_cache=False).logits),
            "eager": stepper(ours, ours),
            "compiled": stepper(compiled, compiled),
        },
        rounds,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    rows: dict[str, object] = {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "threads": options.threads,
        "rounds": options.rounds,
        "date": date.today().isoformat(),
        "load": os.getloadavg()[0],  # above the number of threads, others were at work
    }
    for name in ("mini-1m", "mini-7m"):
        rows[f"train step, {name}"] = train_step(CONFIGS[name], options.rounds)
    for name in ("mini-1m", "mini-15m"):
        rows[f"greedy decode, {name}"] = decode(CONFIGS[name], options.rounds)
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
