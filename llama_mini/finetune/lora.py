"""LoRA: what training changes in a weight, kept as a product of two thin matrices (Hu et al. 2021).

    add_lora(model, "wq|wv", r=8, alpha=16)           # freezes the model; `train` now moves the adapter only
    use_lora(model, {"default": 1.0, "other": 0.5})   # a weighted sum; {} is the model as it was
    merge_lora(model)                                 # as fast as the base; `unmerge_lora` gives it back

Sizes: in and out are a layer's, r is the rank.
"""

import math
import re
from collections.abc import Iterable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llama_mini.surgery import freeze, swap_linears


class LowRank(nn.Module):
    """One layer's difference, alpha / r * b a, with a (r, in) and b (out, r) in float32 whatever the base is.

    b starts at zero, so training starts from the base model (Hu et al. 2021, section 4.1, eq. 3). a starts
    uniform within 1 / sqrt(in) of zero, as in loralib and peft; the paper takes a Gaussian.
    """

    def __init__(self, weight: Tensor, r: int, alpha: float, dropout: float):
        super().__init__()
        self.r, self.alpha, self.dropout = r, alpha, dropout
        self.a = nn.Parameter(torch.empty(r, weight.size(1), device=weight.device, dtype=torch.float32))
        self.b = nn.Parameter(torch.zeros(weight.size(0), r, device=weight.device, dtype=torch.float32))
        nn.init.kaiming_uniform_(self.a, math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """x (..., in) to (..., out) in x's dtype, through r numbers; in training, dropout falls on x."""
        x = F.dropout(x, self.dropout, self.training)
        return F.linear(F.linear(x, self.a.to(x.dtype)), self.b.to(x.dtype)) * (self.alpha / self.r)

    def difference(self) -> Tensor:
        """The same as one matrix (out, in), in float32."""
        return self.b.detach() @ self.a.detach() * (self.alpha / self.r)


class LoRALinear(nn.Module):
    """A linear layer, `base`, and low-rank differences by name, of which those in `weights` count.

    With no weights it is the base to the bit. base may itself be swapped, for one in eight bits, say.
    """

    base: nn.Linear
    kept: Tensor | None

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.base = linear
        self.adapters = nn.ModuleDict()
        self.weights: dict[str, float] = {}
        self.register_buffer("kept", None, persistent=False)  # the base's weight, while it is merged
        self.train(linear.training)

    @property
    def weight(self) -> Tensor:
        """The base's weight (out, in)."""
        return self.base.weight

    def adapter(self, name: str) -> LowRank:
        """The adapter of that name; KeyError if this layer has none."""
        return self.adapters[name]  # type: ignore[return-value]

    def forward(self, x: Tensor) -> Tensor:
        """x (..., in) to (..., out)."""
        y = self.base(x)
        if self.kept is None:
            for name, weight in self.weights.items():
                y = torch.add(y, self.adapter(name)(x), alpha=weight)
        return y

    def merge(self) -> None:
        """Add the weighted differences to the base's weight, in float32, and keep the weight it had."""
        weight = self.base.weight
        total = weight.data.float()
        for name, share in self.weights.items():
            total = total + share * self.adapter(name).difference()
        self.kept, weight.data = weight.data, total.to(weight.dtype)

    def unmerge(self) -> None:
        """Give the base its own weight back: the one that was kept, since subtracting would round it."""
        if self.kept is not None:
            self.base.weight.data, self.kept = self.kept, None


def lora_layers(model: nn.Module) -> dict[str, LoRALinear]:
    """Every layer that `add_lora` has swapped, by name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, LoRALinear)}


def exactly(names: Iterable[str]) -> str:
    """The pattern that finds these names and no others."""
    return "^(" + "|".join(map(re.escape, names)) + ")$"


def add_lora(
    model: nn.Module, pattern: str, *, r: int, alpha: float, dropout: float = 0.0, name: str = "default"
) -> list[str]:
    """Give every linear layer whose name has the pattern a LoRA adapter; return the names of the layers.

    All other weights are frozen, other adapters too, and the new one alone is in use. Patterns as in
    `swap_linears`. ValueError for a pattern that finds nothing, a name in use or with a dot, r below 1, a
    dropout outside [0, 1), and for a merged model.
    """
    if r < 1 or not 0 <= dropout < 1:
        raise ValueError(f"r={r} must be at least 1, and dropout={dropout} in [0, 1)")
    layers = unmerged(model)
    if not name or "." in name or any(name in layer.adapters for layer in layers.values()):
        raise ValueError(f"an adapter's name must be new and without a dot, but this is {name!r}")
    found = [layer for layer in layers if re.search(pattern, layer)]
    plain = [
        layer
        for layer, module in model.named_modules()
        if isinstance(module, nn.Linear)
        and re.search(pattern, layer)
        and layer.removesuffix(".base") not in layers
    ]
    if plain or not found:
        found += swap_linears(model, exactly(plain) if plain else pattern, LoRALinear)
    for layer in found:
        wrapper = lora_layers(model)[layer]
        wrapper.adapters[name] = LowRank(wrapper.weight, r, alpha, dropout).train(wrapper.training)
    freeze(model)
    use_lora(model, {name: 1.0})
    return found


def use_lora(model: nn.Module, weights: Mapping[str, float]) -> None:
    """Switch to these adapters, each times its weight; {} switches all off.

    Those in use can be trained, the others are frozen. ValueError for an adapter that is nowhere in the model
    and for a merged model.
    """
    layers = unmerged(model)
    known = {name for layer in layers.values() for name in layer.adapters}
    if unknown := sorted(weights.keys() - known):
        raise ValueError(f"there is no adapter {unknown[0]!r}; the model has {sorted(known)}")
    for layer in layers.values():
        layer.weights = {name: float(weight) for name, weight in weights.items() if name in layer.adapters}
        for name, adapter in layer.adapters.items():
            adapter.requires_grad_(name in weights)


def merge_lora(model: nn.Module) -> None:
    """Write the adapters in use into the base's weights: no extra work in a forward any more.

    Until `unmerge_lora` the weights they had are kept beside, to be given back to the bit, which costs the
    memory of the layers concerned once more. ValueError for a base without plain weights, before any is
    changed, and for a merged model.
    """
    layers = unmerged(model)
    for name, layer in layers.items():
        if not isinstance(layer.base, nn.Linear):
            raise ValueError(f"{name} holds {type(layer.base).__name__}: nothing can be added to its weight")
    for layer in layers.values():
        layer.merge()


def unmerge_lora(model: nn.Module) -> None:
    """Undo `merge_lora`: the base's weights are what they were, bit for bit. ValueError if not merged."""
    layers = lora_layers(model)
    if not any(layer.kept is not None for layer in layers.values()):
        raise ValueError(f"none of {len(layers)} LoRA layers is merged")
    for layer in layers.values():
        layer.unmerge()


def remove_lora(model: nn.Module) -> None:
    """Put the base's layers back, merged if they are: a plain model, to be saved, converted or fused.

    The adapters are gone, so save them first. What was frozen stays frozen.
    """
    for name, layer in lora_layers(model).items():
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, layer.base)


def unmerged(model: nn.Module) -> dict[str, LoRALinear]:
    """The model's LoRA layers; ValueError if they are merged."""
    layers = lora_layers(model)
    if merged := sum(layer.kept is not None for layer in layers.values()):
        raise ValueError(f"{merged} of {len(layers)} LoRA layers are merged: call unmerge_lora first")
    return layers
