"""The family's figures, to the last digit."""

import dataclasses

import pytest

from llama_mini.config import CONFIGS, Config, RopeScaling, find_config, swiglu_width

# Counted from the published shapes, and equal to the printed sizes but for rounding.
PARAMETERS = {
    "llama-7b": 6_738_415_616,
    "llama-13b": 13_015_864_320,
    "llama-33b": 32_528_943_616,
    "llama-65b": 65_285_660_672,
    "llama-2-7b": 6_738_415_616,
    "llama-2-13b": 13_015_864_320,
    "llama-2-34b": 33_743_970_304,
    "llama-2-70b": 68_976_648_192,
    "code-llama-7b": 6_738_546_688,
    "code-llama-13b": 13_016_028_160,
    "code-llama-34b": 33_743_970_304,
    "code-llama-70b": 68_976_910_336,
    "llama-3-8b": 8_030_261_248,
    "llama-3-70b": 70_553_706_496,
    "llama-3.1-8b": 8_030_261_248,
    "llama-3.1-70b": 70_553_706_496,
    "llama-3.1-405b": 405_853_388_800,
    "llama-3.2-1b": 1_235_814_400,
    "llama-3.2-3b": 3_212_749_824,
    "llama-3.3-70b": 70_553_706_496,
}
CACHE_KIB_A_TOKEN = {
    "llama-7b": 512,
    "llama-13b": 800,
    "llama-65b": 2560,
    "llama-2-70b": 320,
    "llama-2-34b": 192,
    "llama-3-8b": 128,
    "llama-3.1-405b": 504,
    "llama-3.2-1b": 32,
    "llama-3.2-3b": 112,
}
# dim, multiplier, multiple_of -> ffn_dim
WIDTHS = [
    (4096, 1.0, 256, 11008),
    (5120, 1.0, 256, 13824),
    (6656, 1.0, 256, 17920),
    (8192, 1.0, 256, 22016),
    (8192, 1.3, 4096, 28672),
    (4096, 1.3, 1024, 14336),
    (16384, 1.2, 4096, 53248),
    (2048, 1.5, 256, 8192),
    (3072, 1.0, 256, 8192),
]


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_to_the_last_digit(name):
    assert CONFIGS[name].n_params == PARAMETERS[name]


def test_every_released_model_is_counted():
    assert {name for name in CONFIGS if not name.startswith("mini-")} == set(PARAMETERS)


@pytest.mark.parametrize("name", CACHE_KIB_A_TOKEN)
def test_cache_bytes(name):
    assert CONFIGS[name].kv_cache_bytes() == CACHE_KIB_A_TOKEN[name] * 1024


def test_cache_bytes_grow_with_tokens_and_rows():
    config = CONFIGS["llama-2-7b"]
    assert config.kv_cache_bytes(4096) == 2 * 2**30
    assert config.kv_cache_bytes(10, batch=3, bytes_per_value=4) == 60 * config.kv_cache_bytes()


@pytest.mark.parametrize(("dim", "multiplier", "multiple_of", "ffn_dim"), WIDTHS)
def test_feed_forward_width_rule(dim, multiplier, multiple_of, ffn_dim):
    assert swiglu_width(dim, multiplier=multiplier, multiple_of=multiple_of) == ffn_dim
    assert any((c.dim, c.ffn_dim) == (dim, ffn_dim) for c in CONFIGS.values())


def test_flops_are_two_a_multiplied_weight_and_grow_with_context():
    config = CONFIGS["llama-7b"]
    norms, lookup = 65 * 4096, 32000 * 4096
    assert config.flops_per_token() == 2 * (config.n_params - norms - lookup)
    assert config.flops_per_token(100) - config.flops_per_token() == 100 * 4 * 32 * 4096
    tied = dataclasses.replace(config, tie_embeddings=True)
    assert tied.flops_per_token() == config.flops_per_token()


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("dim", 130, "dim=130 must be a multiple of n_heads=4"),
        ("dim", 12, "12 / 4 is odd"),
        ("n_kv_heads", 3, "n_heads=4 must be a multiple of n_kv_heads=3"),
        ("n_layers", 0, "n_layers=0 must be a whole number"),
        ("ffn_dim", 352.0, "ffn_dim=352.0 must be a whole number"),
        ("norm_eps", 0.0, "norm_eps=0.0"),
        ("rope_theta", 1.0, "rope_theta=1.0"),
    ],
)
def test_impossible_shapes_name_the_field_and_its_value(field, value, words):
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(CONFIGS["mini-1m"], **{field: value})


def test_rope_scaling_refuses_crossed_bands():
    with pytest.raises(ValueError, match=r"low_freq_factor=4\.0, high_freq_factor=1\.0"):
        RopeScaling(factor=8.0, low_freq_factor=4.0, high_freq_factor=1.0)


def test_an_unknown_name_lists_the_near_ones():
    with pytest.raises(ValueError, match=r"'llama-2-7B-chat'.*llama-2-7b"):
        find_config("llama-2-7B-chat")
    assert isinstance(find_config("llama-3.2-1b"), Config)
