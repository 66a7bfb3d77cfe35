"""Near copies are found as often as the theory says, and the truth about the small web is the truth."""

from itertools import combinations
from random import Random

import numpy as np
import pytest

from llama_mini.data import dedup, stories, web

WORDS = [f"word{i}" for i in range(400)]


def overlapping(shared, own, seed=0):
    """Two texts with as many shared and own shingles of one word each, and their Jaccard similarity."""
    drawn = Random(seed).sample(WORDS, shared + 2 * own)
    a, b = drawn[: shared + own], drawn[:shared] + drawn[shared + own :]
    return " ".join(a), " ".join(b), shared / (shared + 2 * own)


def test_words_are_without_case_punctuation_and_spaces():
    assert dedup.words("The  pig,\nthe PIG!  snake_case") == ["the", "pig", "the", "pig", "snake", "case"]
    assert dedup.words("一只pig。") == ["一", "只", "pig"]


def test_shingles_are_the_set_of_runs_of_words():
    text = "the pig saw the pig saw the dog"
    runs = {tuple(dedup.words(text)[i : i + 3]) for i in range(6)}
    assert len(dedup.shingles(text, 3)) == len(runs) == 4
    assert np.array_equal(dedup.shingles(text, 3), dedup.shingles(text.upper() + "!", 3))
    assert not np.array_equal(dedup.shingles("a b c", 3), dedup.shingles("c b a", 3))


@pytest.mark.parametrize("text", ["", "one", "...", "two words"])
def test_a_short_text_is_one_shingle(text):
    assert len(dedup.shingles(text, 5)) == 1


def test_jaccard_is_shared_over_all():
    a, b = (dedup.shingles(f"the pig lived by the {place}", 3) for place in ("pond", "river"))
    assert dedup.jaccard(a, b) == 3 / 5
    assert dedup.jaccard(a, a) == 1


def test_exact_groups_name_the_first():
    texts = ["A pig.", "a dog", "a  PIG", "a cat", "a dog!"]
    assert dedup.exact_groups(iter(texts)).tolist() == [0, 1, 0, 3, 1]
    assert dedup.exact_groups([]).tolist() == []


@pytest.mark.parametrize(("shared", "own"), [(20, 40), (50, 25), (90, 5)])
def test_the_estimate_errs_by_the_root_of_the_number_of_functions(shared, own):
    k, errors = 64, []
    for seed in range(60):
        a, b, true = overlapping(shared, own, seed)
        table = dedup.signatures([a, b], dedup.hash_functions(k, seed), n=1)
        errors.append(dedup.similarity(table, np.array([[0, 1]]))[0] - true)
    expected = (true * (1 - true) / k) ** 0.5
    assert abs(np.mean(errors)) < 3.5 * expected / len(errors) ** 0.5
    assert np.std(errors) == pytest.approx(expected, rel=0.35)


@pytest.mark.parametrize("bands", [8, 32])
def test_candidates_come_as_often_as_banding_says(bands):
    a, b, true = overlapping(60, 20, seed=3)
    k, trials = 64, 150
    met = [
        len(dedup.candidates(dedup.signatures([a, b], dedup.hash_functions(k, seed), n=1), bands))
        for seed in range(trials)
    ]
    expected = 1 - (1 - true ** (k // bands)) ** bands
    assert np.mean(met) == pytest.approx(expected, abs=4 * (expected * (1 - expected) / trials) ** 0.5 + 0.01)


def test_many_copies_make_few_pairs():
    table = dedup.signatures(["the same old tale"] * 50 + ["another one"], dedup.hash_functions(8), n=2)
    assert dedup.candidates(table, 4).tolist() == [[0, i] for i in range(1, 50)]


def test_groups_join_over_others():
    pairs = np.array([[5, 4], [1, 3], [4, 1]])
    assert dedup.groups(pairs, 7).tolist() == [0, 1, 2, 1, 1, 1, 6]
    assert dedup.groups(np.zeros((0, 2), dtype=np.int64), 3).tolist() == [0, 1, 2]


def test_near_groups_find_the_copies_that_all_pairs_find():
    rng = Random(1)
    tales = [stories.sample(rng).text for _ in range(40)]
    texts = [*tales, *(f"{tale} Told by my aunt." for tale in tales[:15])]
    sets = [dedup.shingles(text, 3) for text in texts]
    close = [pair for pair in combinations(range(55), 2) if dedup.jaccard(sets[pair[0]], sets[pair[1]]) > 0.5]
    found = dedup.near_groups(iter(texts), threshold=0.5, n=3)
    assert close == [(i, 40 + i) for i in range(15)]
    assert found.tolist() == [*range(40), *range(15)]
    assert dedup.near_groups([]).tolist() == []


def test_signatures_do_not_depend_on_the_process():
    assert dedup.signature(
        dedup.shingles("the pig lived by the pond", 3), dedup.hash_functions(3)
    ).tolist() == [702958763, 308819947, 800607071]


def test_bad_numbers_are_named():
    table = dedup.signatures(["a", "b"], dedup.hash_functions(10))
    with pytest.raises(ValueError, match="10 hash functions do not make 3 bands"):
        dedup.candidates(table, 3)
    with pytest.raises(ValueError, match="0 shingles"):
        dedup.signature(np.zeros(0, dtype=np.uint64), dedup.hash_functions(4))


def test_the_estimates_agree_with_datasketch():
    datasketch = pytest.importorskip("datasketch")
    k, ours, theirs = 256, [], []
    for seed, (shared, own) in enumerate([(10, 50), (40, 30), (60, 20), (100, 10)]):
        a, b, true = overlapping(shared, own, seed)
        table = dedup.signatures([a, b], dedup.hash_functions(k), n=1)
        ours.append(dedup.similarity(table, np.array([[0, 1]]))[0])
        sketches = [datasketch.MinHash(num_perm=k) for _ in range(2)]
        for sketch, text in zip(sketches, (a, b), strict=True):
            sketch.update_batch([word.encode() for word in text.split()])
        theirs.append(sketches[0].jaccard(sketches[1]))
        assert ours[-1] == pytest.approx(true, abs=4 * (true * (1 - true) / k) ** 0.5)
    np.testing.assert_allclose(ours, theirs, atol=6 * (0.5 / 256) ** 0.5)


def test_the_groups_agree_with_datasketch():
    datasketch = pytest.importorskip("datasketch")
    pages = [page.text for page in web.crawl(3, 250)]
    lsh, found = datasketch.MinHashLSH(num_perm=128, params=(16, 8)), []
    for i, text in enumerate(pages):
        sketch = datasketch.MinHash(num_perm=128)
        sketch.update_batch([run.tobytes() for run in dedup.shingles(text, 3)])
        found += [(j, i) for j in lsh.query(sketch)]
        lsh.insert(i, sketch)
    theirs = dedup.groups(np.array(found), len(pages))
    table = dedup.signatures(pages, dedup.hash_functions(128), n=3)
    ours = dedup.groups(dedup.candidates(table, 16), len(pages))
    same = [(ours[i] == ours[j]) == (theirs[i] == theirs[j]) for i, j in combinations(range(len(pages)), 2)]
    assert np.mean(same) > 0.995


class TestWeb:
    pages = web.crawl(7, 600)

    def test_is_the_same_for_a_seed_and_grows_at_its_end(self):
        assert web.crawl(7, 100) == self.pages[:100]
        assert web.crawl(8, 100) != self.pages[:100]

    def test_holds_every_kind_by_its_share(self):
        for kind, share in web.SHARES.items():
            count = sum(page.kind == kind for page in self.pages)
            assert count / 600 == pytest.approx(share, abs=4 * (share / 600) ** 0.5), kind

    def test_a_copy_is_near_its_source_and_others_are_not(self):
        bodies = [dedup.shingles(page.text.split("\n")[1], 3) for page in self.pages]
        copies = [(i, page.copy_of) for i, page in enumerate(self.pages) if page.copy_of is not None]
        strangers = [i for i, page in enumerate(self.pages) if page.kind == "tale" and page.copy_of is None]
        assert len(copies) > 80
        assert min(dedup.jaccard(bodies[i], bodies[j]) for i, j in copies) > 0.4
        assert max(dedup.jaccard(bodies[i], bodies[j]) for i, j in combinations(strangers[:60], 2)) < 0.4

    def test_originals_are_whole_tales(self):
        for i, page in enumerate(self.pages):
            if page.kind == "tale" and page.copy_of is None:
                assert web.original(self.pages, i) == i
                stories.parse(page.text.split("\n")[1], stories.TALES)
                break
        root = web.original(
            self.pages, max(i for i, page in enumerate(self.pages) if page.copy_of is not None)
        )
        assert self.pages[root].copy_of is None

    def test_some_copies_stand_at_the_same_address(self):
        again = [
            page
            for page in self.pages
            if page.copy_of is not None and page.url == self.pages[page.copy_of].url
        ]
        assert 0 < len(again) < sum(page.copy_of is not None for page in self.pages)
        assert all(page.text == self.pages[page.copy_of].text for page in again)
