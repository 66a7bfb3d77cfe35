"""The tiny models as fixtures."""

import pytest
from tiny_models import SHAPES, tiny

from llama_mini import Llama


@pytest.fixture(params=SHAPES)
def model(request) -> Llama:
    return tiny(**SHAPES[request.param])


@pytest.fixture
def gqa() -> Llama:
    return tiny(**SHAPES["gqa"])
