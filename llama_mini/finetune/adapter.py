"""LLaMA-Adapter: a few learned prompt tokens in the upper layers, behind a gate that starts shut.

Zhang et al. 2023, section 3.2, in the form of their released code: one gate for each head, tanh(g) with g = 0
at the start. Shapes as in `llama_mini.model`; N is the number of prompt tokens.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llama_mini.model import Attention, Llama, Write, rotate
from llama_mini.surgery import freeze


class PromptedAttention(Attention):
    """Attention whose heads also read N learned tokens, in a softmax of their own, times tanh(gate)."""

    prompt: nn.Parameter  # (N, C)
    gate: nn.Parameter  # (H)

    def forward(
        self, x: Tensor, rope: Tensor, mask: Tensor | None = None, write: Write | None = None
    ) -> Tensor:
        """As `Attention.forward`; wo is linear, so what the prompt says can be added behind it."""
        return super().forward(x, rope, mask, write) + self.wo(self.read_prompt(x, rope))

    def read_prompt(self, x: Tensor, rope: Tensor) -> Tensor:
        """What each head takes from the prompt, (B, T, C); zero as long as the gates are.

        Prompt tokens have no place in the text: every token sees all of them, and their keys are not turned.
        """
        prompt = self.prompt.to(x.dtype)
        q = rotate(self.wq(x).unflatten(-1, (-1, self.head_dim)), rope).transpose(1, 2)  # (B, H, T, D)
        k, v = (
            w(prompt).unflatten(-1, (-1, self.head_dim)).transpose(0, 1).expand(len(x), -1, -1, -1)
            for w in (self.wk, self.wv)
        )  # (B, G, N, D)
        y = F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
        y = y * self.gate.tanh().to(x.dtype)[:, None, None]
        return y.transpose(1, 2).flatten(2)


def add_prompts(model: Llama, *, n_prompts: int = 10, n_layers: int = 30) -> Llama:
    """Give the top n_layers layers n_prompts learned tokens each; only these and the gates can be trained.

    In place; returns the model, whose logits are the same to the bit until the gates are trained. The
    defaults are those for LLaMA 7B, with 32 layers. A token starts as long as a normed one, each coordinate
    normal with std 1, and is kept in float32. ValueError if the model has fewer layers, for sizes below 1,
    or if attention is not plain.
    """
    if not 1 <= n_layers <= len(model.layers) or n_prompts < 1:
        raise ValueError(
            f"n_layers={n_layers} must be between 1 and the model's {len(model.layers)}, "
            f"and n_prompts={n_prompts} at least 1"
        )
    plain: list[Any] = [block.attention for block in list(model.layers)[-n_layers:]]
    if others := [type(attention).__name__ for attention in plain if type(attention) is not Attention]:
        raise ValueError(f"prompts need plain attention, but found {others[0]}")
    freeze(model)
    like: dict[str, Any] = {"device": model.norm.weight.device, "dtype": torch.float32}
    for attention in plain:
        attention.__class__ = PromptedAttention
        prompt, gate = (
            torch.randn(n_prompts, model.config.dim, **like),
            torch.zeros(model.config.n_heads, **like),
        )
        attention.register_parameter("prompt", nn.Parameter(prompt))
        attention.register_parameter("gate", nn.Parameter(gate))
    return model
