import math

import pytest
import torch

from llama_mini import Config, Llama
from llama_mini.data.text import IGNORE, apart, one_a_row, pack
from llama_mini.pretrain.loss import next_token_loss, packed_loss


def test_a_model_without_a_clue_pays_ln_v_for_each_target_that_counts():
    def clueless(tokens):
        return torch.zeros(*tokens.shape, 7, dtype=torch.bfloat16)

    targets = torch.tensor([[1, 2, IGNORE], [IGNORE, IGNORE, 6]])
    total, count = next_token_loss(clueless, (torch.zeros_like(targets), targets))
    assert count == 3
    torch.testing.assert_close(total, torch.tensor(3 * math.log(7)))


def test_the_loss_is_minus_the_log_of_the_probability_given_to_the_target():
    probs = torch.tensor([[[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]])
    total, _ = next_token_loss(lambda tokens: probs.log(), (torch.zeros(1, 2), torch.tensor([[1, 2]])))
    torch.testing.assert_close(total, torch.tensor(-math.log(0.25) - math.log(0.8)))


def test_packed_documents_cost_what_they_cost_alone():
    torch.manual_seed(0)
    model = Llama(
        Config(dim=16, n_layers=2, n_heads=4, n_kv_heads=2, ffn_dim=24, vocab_size=30, max_seq_len=64)
    )
    documents = [[1, *torch.randint(3, 30, (n,)).tolist(), 2] for n in (3, 9, 1, 6, 12, 4)]
    alone = next_token_loss(model, one_a_row(documents))
    packed = packed_loss(model, apart(pack(documents, rows=1, length=46), bos_id=1))
    together = next_token_loss(model, pack(documents, rows=1, length=46))
    assert packed[1] == alone[1] == sum(len(document) - 1 for document in documents)
    torch.testing.assert_close(packed[0], alone[0])
    assert together[0].item() != pytest.approx(alone[0].item(), rel=1e-4)
