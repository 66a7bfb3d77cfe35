"""llama-mini: build LLaMA piece by piece, with one small package from a laptop to 7B."""

from llama_mini.cache import KVCache
from llama_mini.checkpoint import load, save
from llama_mini.config import CONFIGS, Config, RopeScaling, find_config
from llama_mini.generate import generate, stream
from llama_mini.model import Llama

__all__ = [
    "CONFIGS",
    "Config",
    "KVCache",
    "Llama",
    "RopeScaling",
    "find_config",
    "generate",
    "load",
    "save",
    "stream",
]
