"""Practice of chapter 18: what `check` knows about IsoFLOP valleys."""

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from llama_mini.teach.check.exercise import Exercise, Mistake

Answer = tuple[float, float]


def _parabola(x: Tensor, y: Tensor) -> list[float]:
    """a, b, c of the parabola a x^2 + b x + c through points, by least squares."""
    powers = torch.stack([x * x, x, torch.ones_like(x)], dim=1).double()
    return torch.linalg.lstsq(powers, y[:, None].double()).solution[:, 0].tolist()


def _bottom(sizes: Tensor, losses: Tensor) -> Answer:
    """sizes (n,), losses (n,) -> size and loss at the lowest point of a parabola in ln N."""
    a, b, c = _parabola(sizes.log(), losses)
    return float(torch.tensor(-b / (2 * a)).double().exp()), c - b * b / (4 * a)


def _lowest_run(sizes: Tensor, losses: Tensor) -> Answer:
    i = int(losses.argmin())
    return float(sizes[i]), float(losses[i])


def _in_size(sizes: Tensor, losses: Tensor) -> Answer:
    scale = float(sizes.mean())
    a, b, c = _parabola(sizes / scale, losses)
    return -b / (2 * a) * scale, c - b * b / (4 * a)


def _log_loss(sizes: Tensor, losses: Tensor) -> Answer:
    size, loss = _bottom(sizes, losses.log())
    return size, float(torch.tensor(loss).exp())


def _log_size(sizes: Tensor, losses: Tensor) -> Answer:
    size, loss = _bottom(sizes, losses)
    return float(torch.tensor(size).log()), loss


def _log10_size(sizes: Tensor, losses: Tensor) -> Answer:
    size, loss = _bottom(sizes, losses)
    return float(torch.tensor(size).log10()), loss


def _two_logs(sizes: Tensor, losses: Tensor) -> Answer:
    a, b, c = _parabola(sizes.log10(), losses)
    return float(torch.tensor(-b / (2 * a)).double().exp()), c - b * b / (4 * a)


def _two_a(sizes: Tensor, losses: Tensor) -> Answer:
    a, b, c = _parabola(sizes.log(), losses)
    x = -b / a
    return float(torch.tensor(x).double().exp()), a * x * x + b * x + c


def _no_parentheses(sizes: Tensor, losses: Tensor) -> Answer:
    a, b, c = _parabola(sizes.log(), losses)
    return float(torch.tensor(-b / 2 * a).double().exp()), c - b * b / (4 * a)


def _sign_lost(sizes: Tensor, losses: Tensor) -> Answer:
    a, b, c = _parabola(sizes.log(), losses)
    return float(torch.tensor(b / (2 * a)).double().exp()), c - b * b / (4 * a)


def _turned(sizes: Tensor, losses: Tensor) -> Answer:
    c, b, a = _parabola(sizes.log(), losses)
    return float(torch.tensor(-b / (2 * a)).double().exp()), c - b * b / (4 * a)


def _too_deep(sizes: Tensor, losses: Tensor) -> Answer:
    a, b, c = _parabola(sizes.log(), losses)
    return _bottom(sizes, losses)[0], c - b * b / (2 * a)


def _constant(sizes: Tensor, losses: Tensor) -> Answer:
    return _bottom(sizes, losses)[0], _parabola(sizes.log(), losses)[2]


def _smallest_loss(sizes: Tensor, losses: Tensor) -> Answer:
    return _bottom(sizes, losses)[0], float(losses.min())


def _nearest_run(sizes: Tensor, losses: Tensor) -> Answer:
    size, loss = _bottom(sizes, losses)
    return float(sizes[(sizes.log() - torch.tensor(size).log()).abs().argmin()]), loss


def _three_lowest(sizes: Tensor, losses: Tensor) -> Answer:
    chosen = losses.argsort()[:3]
    return _bottom(sizes[chosen], losses[chosen])


def _one_a_size(sizes: Tensor, losses: Tensor, pick: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """The sizes, each once, and what `pick` makes of the losses of each."""
    once = sizes.unique()
    return once, torch.stack([pick(losses[sizes == size]) for size in once])


def _best_seed(sizes: Tensor, losses: Tensor) -> Answer:
    return _bottom(*_one_a_size(sizes, losses, torch.min))


def _near_only(sizes: Tensor, losses: Tensor) -> Answer:
    once, means = _one_a_size(sizes, losses, torch.mean)
    near = means <= 1.5 * means.min()
    return _bottom(once[near], means[near])


def _swapped(sizes: Tensor, losses: Tensor) -> Answer:
    size, loss = _bottom(sizes, losses)
    return loss, size


def _valley(
    generator: Generator, n: int, middle: float, *, noise: float = 0.02, repeats: int = 1
) -> tuple[Tensor, Tensor]:
    """Runs of one budget in no order: sizes about `middle`, losses of a valley with noise, seeds apart."""
    x = torch.linspace(-1.6, 1.9, n, dtype=torch.float64).repeat(repeats)
    x = x[torch.randperm(len(x), generator=generator)]
    depth = 0.3 + torch.rand(2, generator=generator, dtype=torch.float64)
    shift = 0.5 * torch.rand(1, generator=generator, dtype=torch.float64) + 0.2
    wobble = noise * torch.randn(len(x), generator=generator, dtype=torch.float64)
    return middle * x.exp(), 1.5 + depth[0] + 0.4 * depth[1] * (x - shift) ** 2 + wobble


def _cases(n: int, middle: float, **kind: float) -> Callable[[Generator], list[tuple[Tensor, Tensor]]]:
    return lambda g: [_valley(g, n, middle, **kind), _valley(g, n + 2, 3 * middle, **kind)]  # type: ignore[arg-type]


def _two_numbers(answer: Callable[..., Answer], sizes: Tensor, losses: Tensor) -> list[float]:
    """The answer as two plain numbers."""
    result = answer(sizes, losses)
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise Mistake("return two numbers: the size at the bottom, and the loss there")
    try:
        return [float(number) for number in result]
    except (TypeError, ValueError, RuntimeError):
        raise Mistake("return two plain numbers: the size at the bottom, and the loss there") from None


EXERCISES = [
    Exercise(
        name="valley_bottom",
        reference=_bottom,
        groups={
            "a clean valley": _cases(5, 2e4, noise=0.0),
            "with noise": _cases(6, 4e6),
            "several seeds a size": _cases(5, 7e8, repeats=3),
        },
        wrong={
            "lowest run": (
                _lowest_run,
                "you return the best run. The bottom of the parabola lies between runs, and one lucky seed "
                "does not move it.",
            ),
            "in size": (
                _in_size,
                "your parabola is one in N. Sizes differ by factors: fit against ln N.",
            ),
            "log of loss": (
                _log_loss,
                "you fit the logarithm of the loss. Fit the losses themselves here, against ln N.",
            ),
            "log of size": (
                _log_size,
                "your first number is ln N. Undo the logarithm before you return it.",
            ),
            "log10 of size": (
                _log10_size,
                "your first number is log10 N. Undo the logarithm before you return it.",
            ),
            "two logarithms": (
                _two_logs,
                "you take log10 on the way in and exp on the way out. Undo the logarithm that you took.",
            ),
            "b / a": (
                _two_a,
                "your bottom is at -b / a. The slope 2 a x + b is zero at -b / (2 a).",
            ),
            "no parentheses": (
                _no_parentheses,
                "you wrote -b / 2 * a, and that multiplies by a. Put parentheses: -b / (2 * a).",
            ),
            "sign lost": (_sign_lost, "your bottom is at +b / (2 a). It is at -b / (2 a)."),
            "columns turned": (
                _turned,
                "a and c have changed places: the solution lists its numbers in the order of the columns.",
            ),
            "too deep": (
                _too_deep,
                "your second number is c - b^2 / (2 a). At x = -b / (2 a) the parabola is c - b^2 / (4 a).",
            ),
            "constant term": (
                _constant,
                "your second number is the parabola at ln N = 0. Put the bottom's own x into it.",
            ),
            "smallest loss": (
                _smallest_loss,
                "your second number is the loss of the best run. Return the parabola's value at its bottom.",
            ),
            "nearest run": (
                _nearest_run,
                "your first number is the size of the run nearest to the bottom. Return the bottom itself.",
            ),
            "three lowest": (
                _three_lowest,
                "you use only the three lowest runs. Least squares takes all of them, or noise decides.",
            ),
            "best seed": (
                _best_seed,
                "you keep only the best run of each size. Fit all runs: a lucky seed is no better model.",
            ),
            "near only": (
                _near_only,
                "you leave out sizes far above the best, as the chapter's `lowest` does. Here all count.",
            ),
            "swapped": (_swapped, "your two numbers are in the wrong order: first the size, then the loss."),
        },
        trial=_two_numbers,
        rtol=1e-3,
    )
]
