import math

import torch

from llama_mini.data.text import IGNORE
from llama_mini.pretrain.loss import next_token_loss


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
