"""A run that others can watch: every step written for TensorBoard, on its way to the caller."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from llama_mini.train import Step


def tensorboard(steps: Iterable[Step], folder: str | Path) -> Iterator[Step]:
    """Pass the steps on, and write each one's loss, rate, gradient norm and tokens into the folder.

    Watch with `tensorboard --logdir FOLDER`. A run that goes on writes a second file beside the first, which
    hides the steps that a kill made twice. ImportError names the package if it is absent.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError('the log needs TensorBoard: pip install "llama-mini[log]"') from error
    writer = None
    try:
        for step in steps:
            if writer is None:
                writer = SummaryWriter(str(folder), purge_step=step.index)
            for name in ("loss", "lr", "grad_norm", "tokens"):
                writer.add_scalar(name, getattr(step, name), step.index)
            yield step
    finally:
        if writer is not None:
            writer.close()
