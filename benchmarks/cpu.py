"""Decoding and training against transformers' LlamaForCausalLM, same weights, same process, in turn.

Prints JSON: python benchmarks/cpu.py [--rounds 7] [--threads 2]
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
import transformers

from llama_mini import CONFIGS, Config, Llama, generate
from llama_mini.generate import Sampling


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


def ratio(ours: Callable[[], object], theirs: Callable[[], object], rounds: int) -> dict[str, float]:
    """Median seconds of both, run in turn, and the median of theirs / ours pair by pair."""
    times: list[tuple[float, float]] = []
    for _ in range(rounds + 1):
        pair = []
        for run in (ours, theirs):
            start = time.perf_counter()
            run()
            pair.append(time.perf_counter() - start)
        times.append((pair[0], pair[1]))
    times = times[1:]  # the first round warms up
    return {
        "ours_s": statistics.median(a for a, _ in times),
        "transformers_s": statistics.median(b for _, b in times),
        "ratio": statistics.median(b / a for a, b in times),
    }


def decode(config: Config, rounds: int) -> dict[str, float]:
    """Greedy decoding of 64 tokens at batch 1, eager."""
    model, theirs = Llama(config).eval(), reference(config).eval()
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

    return ratio(lambda: generate(model, [prompt], greedy, max_new_tokens=64), their_run, rounds)


def train_step(config: Config, rounds: int) -> dict[str, float]:
    """Forward, backward and AdamW on 8 x 256 tokens, eager float32."""
    tokens = torch.randint(config.vocab_size, (8, 257))

    def stepper(model: torch.nn.Module, logits: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[], None]:
        optimizer = torch.optim.AdamW(model.parameters(), fused=True)

        def step() -> None:
            loss = F.cross_entropy(logits(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

        return step

    ours, theirs = Llama(config), reference(config)
    return ratio(
        stepper(ours, ours), stepper(theirs, lambda x: theirs(input_ids=x, use_cache=False).logits), rounds
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    rows: dict[str, object] = {"torch": torch.__version__, "transformers": transformers.__version__}
    for name in ("mini-1m", "mini-7m"):
        rows[f"train step, {name}"] = train_step(CONFIGS[name], options.rounds)
    for name in ("mini-1m", "mini-15m"):
        rows[f"greedy decode, {name}"] = decode(CONFIGS[name], options.rounds)
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
