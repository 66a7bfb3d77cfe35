"""What every test may ask for."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch


def pytest_configure() -> None:
    """One torch thread for each test process: several that share two cores would wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """The path of a real file that is no part of this project; where it is absent the test skips, naming it.

    Files are looked for in ../shared/data beside the repository, or in the folder LLAMA_MINI_DATA.
    """
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("LLAMA_MINI_DATA", default))

    def find(name: str) -> Path:
        if not (folder / name).exists():
            pytest.skip(f"needs the real file {name} (in ../shared/data, or in the folder LLAMA_MINI_DATA)")
        return folder / name

    return find
