"""Every patient shows the sign of its own bug and of no other; the healthy llama shows none."""

import math
from random import Random

import pytest
import torch

from llama_mini import CONFIGS, Llama, load
from llama_mini.data import stories
from llama_mini.data.text import one_a_row
from llama_mini.evaluate.perplexity import token_losses
from llama_mini.pretrain.loss import next_token_loss
from llama_mini.teach import broken
from llama_mini.teach.broken import Patient
from llama_mini.teach.trial import tale_batches

BEDS = range(1, 11)
SHORT = [1, 2, 3, 4]


@pytest.fixture(scope="module")
def base():
    return load("base")


def newborn() -> Llama:
    llama = Llama(CONFIGS["mini-180k"])
    llama.init_weights(torch.Generator().manual_seed(9))
    return llama


def leaks(patient: Patient, base) -> bool:
    tokens = tale_batches(base[1], seed=9, rows=2, length=40)(0)[0]
    changed = tokens.clone()
    changed[:, 30] = (changed[:, 30] + 100) % base[0].config.vocab_size
    with torch.no_grad():
        moved = (patient.model(changed) - patient.model(tokens)).abs().amax((0, 2))
    assert moved[30] > 0.01
    return bool((moved[:30] > 0).any())


def deaf(infant: Patient, base) -> bool:
    infant.loss(infant.model, tale_batches(base[1], seed=9, rows=2, length=40)(0))[0].backward()
    weights = infant.model.named_parameters()
    silent = {name.rpartition("layers.")[2] for name, w in weights if w.grad is None or not w.grad.any()}
    assert not silent or all("attention" in name for name in silent)
    return bool(silent)


def lost(patient: Patient, base) -> bool:
    losses = token_losses(patient.model, tale_batches(base[1], seed=9, rows=4, length=65)(0)[0])
    assert losses[:, :20].mean() < 1.5
    return bool(losses[:, 24:].mean() > 2)


def ill_in_company(patient: Patient, base) -> bool:
    tale = base[1].encode(stories.sample(Random(9)).text, bos=True, eos=True)
    alone = patient.model(torch.tensor([SHORT])).detach()
    together = patient.model(one_a_row([[*SHORT, 5], tale])[0]).detach()
    assert alone.isfinite().all()
    assert together[1].isfinite().all()
    return bool(together[0].isnan().any())


def knows_too_early(infant: Patient, base) -> bool:
    with torch.no_grad():
        total, count = infant.loss(infant.model, tale_batches(base[1], seed=9)(0))
    first = float(total / count) / math.log(1280)
    assert first < 1.02
    return first < 0.95


def signs(grown: Patient, infant: Patient, base) -> set[str]:
    shown = {
        "leak": leaks(grown, base),
        "deaf": deaf(infant, base),
        "lost": lost(grown, base),
        "nan": ill_in_company(grown, base),
        "copying": knows_too_early(infant, base),
    }
    return {name for name, there in shown.items() if there}


def test_the_healthy_llama_shows_no_sign(base):
    healthy = [Patient(llama, next_token_loss) for llama in (base[0], newborn())]
    assert signs(*healthy, base) == set()


@pytest.mark.parametrize("bed", BEDS)
def test_a_patient_shows_the_sign_of_its_bug_alone(bed, base):
    found = signs(broken.patient(bed, base[0]), broken.patient(bed, newborn()), base)
    assert len(found) == 1
    if bed <= 5:
        assert broken.diagnose(bed, *found).startswith(f"patient {bed}: yes, ")
        for other in broken.BUGS.keys() - found:
            assert (
                broken.diagnose(bed, other)
                == f"patient {bed}: no. If it were {other!r}: {broken.BUGS[other].sign}"
            )


def test_both_wards_have_every_bug_once():
    for ward in (range(1, 6), range(6, 11)):
        assert {broken._name(bed) for bed in ward} == set(broken.BUGS)


def test_the_llama_that_is_given_stays_healthy(base):
    before = {name: weight.clone() for name, weight in base[0].state_dict().items()}
    for bed in BEDS:
        broken.patient(bed, base[0])
    assert all(torch.equal(weight, before[name]) for name, weight in base[0].state_dict().items())
    assert not leaks(Patient(base[0], next_token_loss), base)


def test_the_printed_model_gives_nothing_away(base):
    assert {str(broken.patient(bed, base[0]).model) for bed in BEDS} == {str(base[0])}


def test_what_cannot_be_asked_says_why(base):
    with pytest.raises(ValueError, match="no bed 11: the ward has 1 to 10"):
        broken.patient(11, base[0])
    with pytest.raises(ValueError, match="no bed 0"):
        broken.diagnose(0, "leak")
    with pytest.raises(ValueError, match="no bug is called 'flu'"):
        broken.diagnose(1, "flu")
    with pytest.raises(ValueError, match="bed 7 is an exercise"):
        broken.diagnose(7, "leak")
