"""LoRA: it starts at the base, gives the base back, moves nothing else, and peft computes the same."""

import json
from copy import deepcopy

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounter

from llama_mini import CONFIGS, Config, Llama, generate
from llama_mini.checkpoint.huggingface import write
from llama_mini.compress.int8 import Int8Linear, to_int8
from llama_mini.finetune.lora import (
    LoRALinear,
    add_lora,
    lora_layers,
    merge_lora,
    remove_lora,
    unmerge_lora,
    use_lora,
)
from llama_mini.finetune.lora_files import load_lora, save_lora
from llama_mini.generate import Sampling
from llama_mini.pretrain.activations import checkpoint_activations
from llama_mini.pretrain.loss import next_token_loss
from llama_mini.surgery import count, fuse
from llama_mini.train import TrainConfig, train

TINY = Config(dim=32, n_layers=2, n_heads=4, n_kv_heads=2, ffn_dim=48, vocab_size=61, max_seq_len=40)
TOKENS = torch.randint(61, (3, 9), generator=torch.Generator().manual_seed(1))


def base() -> Llama:
    torch.manual_seed(0)
    model = Llama(TINY).eval()
    for weight in model.parameters():
        weight.data.mul_(3)  # far from linear, so that a mistake shows
    return model


def learned(model: Llama, name: str = "default", *, seed: int = 2) -> None:
    """Give an adapter a b that is not zero, as training would."""
    generator = torch.Generator().manual_seed(seed)
    for layer in lora_layers(model).values():
        if name in layer.adapters:
            b = layer.adapter(name).b
            b.data = torch.randn(b.shape, generator=generator) / 4


def tuned(pattern: str = "wq|wv", **how: float) -> Llama:
    model = base()
    add_lora(model, pattern, **{"r": 3, "alpha": 6} | how)
    learned(model)
    return model


def far(a: torch.Tensor, b: torch.Tensor) -> bool:
    return (a - b).abs().max() > 0.1


def test_it_starts_at_the_base_to_the_bit():
    model = base()
    expected = model(TOKENS)
    names = add_lora(model, "wq|wv", r=3, alpha=6)
    assert names == [f"layers.{i}.attention.{w}" for i in (0, 1) for w in ("wq", "wv")]
    assert torch.equal(model(TOKENS), expected)
    assert all(layer.adapter("default").a.std() > 0.05 for layer in lora_layers(model).values())


def test_the_difference_is_alpha_over_r_times_b_a():
    model, plain = tuned("w2$", r=5, alpha=2), base()
    for name, layer in lora_layers(model).items():
        low = layer.adapter("default")
        assert (low.a.shape, low.b.shape) == ((5, 48), (32, 5))
        plain.get_submodule(name).weight.data += 2 / 5 * low.b.data @ low.a.data
    assert far(plain(TOKENS), base()(TOKENS))
    torch.testing.assert_close(model(TOKENS), plain(TOKENS), rtol=1e-4, atol=1e-4)


def test_only_the_adapter_is_trained():
    model, before = tuned(), tuned().state_dict()
    assert count(model, trainable=True) == 2 * 3 * (32 + 32 + 32 + 16)
    steps = TrainConfig(steps=3, lr=1e-2, warmup=0)
    list(train(model, lambda i: (TOKENS, TOKENS.roll(-1, 1)), loss=next_token_loss, config=steps))
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, before[name]) != ("adapters" in name), name


def test_4_194_304_numbers_for_wq_and_wv_of_the_7b():
    with torch.device("meta"):
        model = Llama(CONFIGS["llama-2-7b"])
    assert len(add_lora(model, "wq|wv", r=8, alpha=16)) == 64
    assert count(model, trainable=True) == 4_194_304
    assert round(100 * 4_194_304 / CONFIGS["llama-2-7b"].n_params, 3) == 0.062


def test_checkpointed_activations_give_the_same_gradients():
    gradients = []
    for model in (tuned(), checkpoint_activations(tuned())):
        total, _ = next_token_loss(model, (TOKENS, TOKENS))
        total.backward()
        gradients.append({name: weight.grad for name, weight in model.named_parameters()})
    assert sum(grad is not None for grad in gradients[0].values()) == 8
    torch.testing.assert_close(gradients[1], gradients[0], rtol=0, atol=0)


def test_dropout_falls_on_the_adapter_in_training_only():
    model, sure = tuned(dropout=0.5), tuned()
    assert torch.equal(model(TOKENS), sure(TOKENS))
    model.train()
    assert far(model(TOKENS), model(TOKENS))
    use_lora(model, {})
    assert torch.equal(model(TOKENS), base()(TOKENS))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_merged_equals_unmerged_and_comes_back_to_the_bit(dtype):
    model = tuned("w").to(dtype)
    weights = {name: layer.weight.clone() for name, layer in lora_layers(model).items()}
    expected = model(TOKENS)
    merge_lora(model)
    assert all(far(layer.weight, weights[name]) for name, layer in lora_layers(model).items())
    if dtype == torch.float32:
        torch.testing.assert_close(model(TOKENS), expected, rtol=1e-3, atol=1e-3)
    unmerge_lora(model)
    assert all(torch.equal(layer.weight, weights[name]) for name, layer in lora_layers(model).items())
    assert torch.equal(model(TOKENS), expected)


def test_a_merged_model_can_be_moved_before_it_is_unmerged():
    model = tuned()
    merge_lora(model)
    unmerge_lora(model.to(torch.bfloat16))
    use_lora(model, {})
    assert torch.equal(model(TOKENS), base().to(torch.bfloat16)(TOKENS))


def test_a_training_step_compiles_as_one_graph():
    model, counter = checkpoint_activations(tuned()), CompileCounter()
    model.compile(backend=counter, fullgraph=True)
    torch.testing.assert_close(model(TOKENS), tuned()(TOKENS), rtol=1e-4, atol=1e-4)
    assert counter.frame_count == 1


def test_a_merged_model_becomes_plain_and_can_be_fused():
    model = tuned()
    expected = generate(model, [[1, 2, 3], [4]], Sampling(temperature=0), max_new_tokens=9)
    merge_lora(model)
    names = model.state_dict().keys()
    assert not any("kept" in name for name in names)
    remove_lora(model)
    assert model.state_dict().keys() == base().state_dict().keys()
    assert generate(fuse(model), [[1, 2, 3], [4]], Sampling(temperature=0), max_new_tokens=9) == expected


def test_removed_without_merging_the_base_is_left():
    model = tuned()
    remove_lora(model)
    assert torch.equal(model(TOKENS), base()(TOKENS))


def two() -> Llama:
    """Adapters of other ranks and partly other layers: default on wq and wv, other on wv and w1."""
    model = tuned()
    assert len(add_lora(model, r"wv$|w1$", r=2, alpha=8, name="other")) == 4
    learned(model, "other", seed=3)
    return model


def test_adapters_are_switched_summed_and_switched_off():
    model, plain = two(), base()
    assert not any(isinstance(layer.base, LoRALinear) for layer in lora_layers(model).values())
    other = model(TOKENS)
    use_lora(model, {"default": 1.0})
    assert torch.equal(model(TOKENS), tuned()(TOKENS))
    assert far(other, model(TOKENS))
    use_lora(model, {})
    assert torch.equal(model(TOKENS), plain(TOKENS))
    use_lora(model, {"other": 1.0})
    assert torch.equal(model(TOKENS), other)
    use_lora(model, {"default": 0.25, "other": -2})
    for name, layer in lora_layers(model).items():
        for adapter, share in (("default", 0.25), ("other", -2)):
            if adapter in layer.adapters:
                plain.get_submodule(name).weight.data += share * layer.adapter(adapter).difference()
    torch.testing.assert_close(model(TOKENS), plain(TOKENS), rtol=1e-3, atol=1e-3)
    merge_lora(model)
    torch.testing.assert_close(model(TOKENS), plain(TOKENS), rtol=1e-4, atol=1e-4)


def test_a_second_adapter_on_the_same_layers_stands_beside_the_first():
    model = tuned()
    assert add_lora(model, "wq|wv", r=2, alpha=2, name="other") == list(lora_layers(tuned()))
    assert all(set(layer.adapters) == {"default", "other"} for layer in lora_layers(model).values())
    assert torch.equal(model(TOKENS), base()(TOKENS))  # the new one is in use, and is zero


def test_what_is_not_in_use_is_frozen():
    model = two()
    trained = {name.split(".")[-2] for name, weight in model.named_parameters() if weight.requires_grad}
    assert trained == {"other"}
    use_lora(model, {"default": 1})
    trained = {name.split(".")[-2] for name, weight in model.named_parameters() if weight.requires_grad}
    assert trained == {"default"}


def test_a_base_in_eight_bits_is_tuned_but_not_merged():
    model, plain = tuned(), base()
    to_int8(model, r"\.base$")
    to_int8(plain, "wq|wv")
    assert isinstance(model.layers[0].attention.wq.base, Int8Linear)
    assert far(model(TOKENS), plain(TOKENS))
    add_lora(model, "wq|wv", r=1, alpha=1, name="new")
    assert torch.equal(model(TOKENS), plain(TOKENS))
    with pytest.raises(ValueError, match=r"layers\.0\.attention\.wq holds Int8Linear"):
        merge_lora(model)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="no linear layer matches"):
        add_lora(base(), "q_proj", r=3, alpha=6)
    with pytest.raises(ValueError, match="r=0 must be at least 1, and dropout=0"):
        add_lora(base(), "wq", r=0, alpha=6)
    for name in ("default", "a.b", ""):
        with pytest.raises(ValueError, match=f"but this is '{name}'"):
            add_lora(tuned(), "wq", r=3, alpha=6, name=name)
    with pytest.raises(ValueError, match=r"no adapter 'chat'; the model has \['default'\]"):
        use_lora(tuned(), {"chat": 1})
    with pytest.raises(ValueError, match="none of 4 LoRA layers is merged"):
        unmerge_lora(tuned())
    model = tuned()
    merge_lora(model)
    for change in (
        merge_lora,
        lambda m: use_lora(m, {}),
        lambda m: add_lora(m, "w1", r=1, alpha=1, name="b"),
    ):
        with pytest.raises(ValueError, match="4 of 4 LoRA layers are merged"):
            change(model)


def test_a_saved_adapter_comes_back_under_another_name(tmp_path):
    model = two()
    save_lora(model, tmp_path / "other", name="other")
    save_lora(model, tmp_path / "default")
    again = base()
    load_lora(again, tmp_path / "default", name="first")
    assert load_lora(again, tmp_path / "other", name="second") == [
        f"layers.{i}.{layer}" for i in (0, 1) for layer in ("attention.wv", "feed_forward.w1")
    ]
    assert torch.equal(again(TOKENS), model(TOKENS))
    use_lora(again, {"first": 1})
    assert torch.equal(again(TOKENS), tuned()(TOKENS))
    size = (tmp_path / "other" / "adapter_model.safetensors").stat().st_size
    assert size < 4 * 2 * 2 * (32 + 16 + 32 + 48) + 2000  # the adapter and a header, no base


def theirs(folder) -> nn.Module:
    transformers = pytest.importorskip("transformers")
    write(base(), folder)
    return transformers.LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@pytest.mark.parametrize("pattern", ["wq|wv", r"w|output", r"layers\.1.*(wk|w2)"])
def test_peft_computes_the_same_from_our_file(tmp_path, pattern):
    peft = pytest.importorskip("peft")
    model = tuned(pattern)
    save_lora(model, tmp_path / "adapter")
    adapted = peft.PeftModel.from_pretrained(theirs(tmp_path / "base"), tmp_path / "adapter").eval()
    assert sum("lora_A" in name for name, _ in adapted.named_parameters()) == len(lora_layers(model))
    assert far(model(TOKENS), base()(TOKENS))
    torch.testing.assert_close(adapted(TOKENS).logits, model(TOKENS), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("targets", [["q_proj", "k_proj", "v_proj"], "all-linear"])
def test_we_compute_the_same_from_their_file(tmp_path, targets):
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=3, lora_alpha=7, target_modules=targets, task_type="CAUSAL_LM")
    torch.manual_seed(4)
    adapted = peft.get_peft_model(theirs(tmp_path / "base"), config).eval()
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            weight.data.normal_(std=0.3)
    adapted.save_pretrained(tmp_path / "adapter")
    model = base()
    load_lora(model, tmp_path / "adapter")
    assert far(model(TOKENS), base()(TOKENS))
    torch.testing.assert_close(model(TOKENS), adapted(TOKENS).logits, rtol=1e-4, atol=1e-4)


def test_a_file_that_does_not_fit_is_refused_and_the_model_stays(tmp_path):
    save_lora(tuned(), tmp_path)
    other = Llama(Config(**{**TINY.__dict__, "n_kv_heads": 1}))
    with pytest.raises(ValueError, match=r"v_proj has A, B of .*\(16, 3\).* but needs \(3, 32\), \(8, 3\)"):
        load_lora(other, tmp_path)
    with pytest.raises(ValueError, match=r"4 of 8 tensors fit no layer: base_model\.model\.model\.layers\.1"):
        load_lora(Llama(Config(**{**TINY.__dict__, "n_layers": 1})), tmp_path)
    with pytest.raises(ValueError, match=r"no layers\.0\.attention\.wq: load an adapter onto plain"):
        load_lora(fuse(base()), tmp_path)
    assert not lora_layers(other)
    path = tmp_path / "adapter_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({key: config[key] for key in config if key != "r"}))
    with pytest.raises(ValueError, match=r"adapter_config\.json does not say r"):
        load_lora(base(), tmp_path)
    for key, value in (("use_dora", True), ("bias", "all"), ("rank_pattern", {"q_proj": 2})):
        path.write_text(json.dumps(config | {key: value}))
        with pytest.raises(ValueError, match=f"{key} is .* but only plain LoRA is read"):
            load_lora(base(), tmp_path)


def test_saving_needs_the_adapter_and_names_that_others_know(tmp_path):
    with pytest.raises(ValueError, match="no adapter 'chat' to save"):
        save_lora(tuned(), tmp_path, name="chat")
    model = fuse(deepcopy(base()))
    add_lora(model, "wqkv", r=2, alpha=2)
    with pytest.raises(ValueError, match=r"layers\.0\.attention\.wqkv has no name in Hugging Face"):
        save_lora(model, tmp_path)
