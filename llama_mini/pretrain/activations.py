"""Less memory for more arithmetic: keep one tensor a block, and make the others again on the way back."""

from torch import Tensor, is_grad_enabled
from torch.utils.checkpoint import checkpoint

from llama_mini.model import Block, Llama


class CheckpointedBlock(Block):
    """A block that keeps only its input for the backward pass, and then computes the rest a second time."""

    def forward(self, *inputs: object) -> Tensor:
        if not is_grad_enabled():
            return super().forward(*inputs)  # type: ignore[arg-type]
        return checkpoint(super().forward, *inputs, use_reentrant=False)


def checkpoint_activations(model: Llama) -> Llama:
    """Make every block of a model a CheckpointedBlock, in place, and return the model (Chen et al. 2016).

    Weights, their names, losses and gradients stay the same. A training step keeps one (B, T, C) tensor a
    block instead of all that is computed in it, and costs about a third more arithmetic: a second forward.
    Do this before `fully_shard` or `torch.compile`. ValueError if a block is not a plain one.
    """
    for i, block in enumerate(model.layers):
        if type(block) not in (Block, CheckpointedBlock):
            raise ValueError(f"layer {i} is a {type(block).__name__}, not a plain Block")
        block.__class__ = CheckpointedBlock
    return model
