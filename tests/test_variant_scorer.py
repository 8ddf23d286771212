"""Laws of the scores of variants, and what they are made of."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scorer_cases import (
    WIDTH,
    models,
    placed,
    plain_logits,
    random_text,
    score,
    score_counted,
    single,
    snvs,
    write_genome,
)

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.models.chromtransfer import ChromTransfer
from chromtransfer_plugin.models.ensemble import Ensemble
from chromtransfer_plugin.variants.batches import batches
from chromtransfer_plugin.variants.effects import log_odds
from chromtransfer_plugin.variants.models import Predictor
from chromtransfer_plugin.variants.scorer import Scorer, Settings
from chromtransfer_plugin.variants.windows import allele_windows

# One of each kind in a contig of its own, so that a genome can carry all ALT alleles.
KINDS = {
    "snv": (500, 1, "T"),
    "insertion": (500, 1, "{ref}GATTA"),
    "deletion": (500, 6, "{first}"),
    "mnv": (500, 3, "TTT"),
    "mixed": (500, 4, "GC"),
    "edge": (7, 1, "T"),
}
TIGHT = {"rtol": 0, "atol": 1e-6}


@pytest.fixture(name="made", scope="module")
def models_of_module(tmp_path_factory):
    return models(tmp_path_factory.mktemp("models"))


@pytest.fixture(name="contigs", scope="module")
def contigs_with_variants():
    texts, variants = {}, []
    for seed, (kind, (pos, length, alt)) in enumerate(KINDS.items()):
        text = random_text(1_000, seed)
        if kind in ("snv", "edge"):
            text = text[: pos - 1] + "A" + text[pos:]
        ref = text[pos - 1 : pos - 1 + length]
        texts[kind] = text
        variants.append((kind, pos, ref, alt.format(ref=ref, first=ref[0])))
    return texts, variants


@pytest.fixture(name="genome", scope="module")
def genome_of_module(tmp_path_factory, contigs):
    return write_genome(tmp_path_factory.mktemp("genome") / "g.fa", contigs[0])


def sizes(scores):
    return np.abs(scores.alt - scores.ref)


def test_scores_are_the_mean_logits_of_the_windows_of_both_strands(made, genome, contigs):
    table = placed(genome, contigs[1])
    scores = score([single(model) for model in made], genome, table)
    for allele, found in (("ref", scores.ref), ("alt", scores.alt)):
        for column, model in enumerate(made):
            strands = [
                plain_logits(model, allele_windows(genome, table, allele, WIDTH, strand)) for strand in "+-"
            ]
            np.testing.assert_allclose(found[:, column], np.mean(strands, axis=0)[:, 0], rtol=0, atol=1e-5)
    assert (sizes(scores) > 1e-3).all()
    assert (scores.shift == 0).all()


def test_equal_alleles_differ_by_exactly_0(made, genome):
    table = placed(
        genome, [("snv", 300 + i, base, base) for i, base in enumerate(contig_text(genome)[299:320])]
    )
    scores = score([single(made[0])], genome, table, shifts=(-2, 0, 2))
    assert (scores.ref == scores.alt).all()
    assert scores.ref.std() > 0


def contig_text(genome) -> str:
    return "".join("ACGT"[code] for code in genome.codes("snv", 0, 1_000))


def test_exchanging_the_alleles_changes_the_sign(made, genome, contigs, tmp_path):
    texts, variants = contigs
    carrying = {}
    back = []
    for kind, pos, ref, alt in variants:
        text = texts[kind]
        carrying[kind] = text[: pos - 1] + alt + text[pos - 1 + len(ref) :]
        back.append((kind, pos, alt, ref))
    other = write_genome(tmp_path / "alt.fa", carrying)
    predictors = [single(model) for model in made]
    there = score(predictors, genome, placed(genome, variants))
    again = score(predictors, other, placed(other, back))
    np.testing.assert_allclose(again.ref, there.alt, **TIGHT)
    np.testing.assert_allclose(again.alt, there.ref, **TIGHT)


def test_swapped_rows_are_the_alleles_of_the_file(made, genome, contigs):
    """REF and ALT exchanged in the file only: ``old`` is what the genome has, whichever of them it is."""
    table = placed(genome, contigs[1])
    there, swapped = (score([single(made[0])], genome, table.assign(swapped=s)) for s in (False, True))
    np.testing.assert_allclose(swapped.ref, there.alt, **TIGHT)
    np.testing.assert_allclose(swapped.alt, there.ref, **TIGHT)


def test_reverse_complement_leaves_the_scores_as_they_are(made, genome, contigs, tmp_path):
    texts, variants = contigs
    turn = str.maketrans("ACGT", "TGCA")
    other = write_genome(
        tmp_path / "rc.fa", {name: text[::-1].translate(turn) for name, text in texts.items()}
    )
    turned = [
        (
            name,
            len(texts[name]) - (pos - 1 + len(ref)) + 1,
            ref[::-1].translate(turn),
            alt[::-1].translate(turn),
        )
        for name, pos, ref, alt in variants
    ]
    predictors = [single(model) for model in made]
    there = score(predictors, genome, placed(genome, variants))
    turned_scores = score(predictors, other, placed(other, turned))
    np.testing.assert_allclose(turned_scores.ref, there.ref, **TIGHT)
    np.testing.assert_allclose(turned_scores.alt, there.alt, **TIGHT)
    one_strand = score(predictors, other, placed(other, turned), strands=("+",))
    assert np.abs(one_strand.alt - there.alt).max() > 1e-3  # the law is not trivial


def test_an_indel_scores_the_same_however_it_is_written(made, tmp_path):
    text = random_text(400, 1) + "GCACACACAT" + random_text(400, 2)
    genome = write_genome(tmp_path / "repeat.fa", {"c": text})
    at = 401  # of the G
    written = [
        ("c", at, "GCA", "G"),
        ("c", at + 2, "ACA", "A"),
        ("c", at + 6, "ACA", "A"),
        ("c", at, "GCACACACAT", "GCACACAT"),
        ("c", at + 1, "CA", "CACA"),
        ("c", at, "G", "GCA"),
        ("c", at + 8, "A", "ACA"),
    ]
    scores, scorer = score_counted([single(made[0])], genome, placed(genome, written))
    for values in (scores.ref, scores.alt):
        assert (values[1:4] == values[0]).all()
        assert (values[5:] == values[4]).all()
    assert scores.alt[0] != scores.alt[4]
    # Both alleles of one deletion and of one insertion, on either strand.
    assert (scorer.n_windows, scorer.n_run) == (7 * 4, 8)


def test_an_ensemble_is_the_mean_of_its_members(made, genome, contigs):
    table = placed(genome, contigs[1])
    ensemble = Predictor("both", tuple(made), ("both",))
    scores = score([single(made[0]), ensemble, single(made[1])], genome, table)
    for values in (scores.ref, scores.alt):
        np.testing.assert_allclose(values[:, 1], (values[:, 0] + values[:, 2]) / 2, rtol=0, atol=2e-7)
    alone = score([ensemble], genome, table)
    np.testing.assert_allclose(alone.alt[:, 0], scores.alt[:, 1], **TIGHT)
    # The same as one model that is an ensemble.
    joint = Ensemble([model.network for model in made]).eval()
    one = made[0]._replace(network=joint, name="joint")
    np.testing.assert_allclose(score([single(one)], genome, table).alt, alone.alt, rtol=0, atol=2e-6)


@pytest.mark.parametrize("change", ["size 1", "size 7", "order", "two threads", "cache"])
def test_what_must_not_change_the_scores(change, made, genome, contigs, tmp_path):
    variants = [
        *contigs[1],
        *[
            ("snv", p, contig_text(genome)[p - 1], "GATC"["ACGT".index(contig_text(genome)[p - 1])])
            for p in range(480, 520)
        ],
    ]
    table = placed(genome, variants)
    predictors = [single(model) for model in made]
    wanted = score(predictors, genome, table)
    order = np.arange(len(table))
    settings, cache = {}, None
    if change.startswith("size"):
        settings["batch_size"] = int(change.split()[1])
    elif change == "order":
        order = np.random.default_rng(3).permutation(order)
    elif change == "cache":
        cache = tmp_path / "windows"
        score(predictors, genome, table[10:30], cache)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2 if change == "two threads" else 1)
        found = score(predictors, genome, table.iloc[order], cache, **settings)
    finally:
        torch.set_num_threads(threads)
    # For a single window, oneDNN takes other kernels than for several, which round otherwise.
    tolerance = {"rtol": 0, "atol": 4e-6} if change == "size 1" else TIGHT
    np.testing.assert_allclose(found.ref, wanted.ref[order], **tolerance)
    np.testing.assert_allclose(found.alt, wanted.alt[order], **tolerance)


class Counting(ChromTransfer):
    """Counts the windows it is given, and is no exact ChromTransfer, so all of them are whole."""

    def features(self, X):
        self.seen = [*getattr(self, "seen", []), *(window.tobytes() for window in X.numpy())]
        return super().features(X)


def test_every_different_window_runs_once(made, genome):
    text = contig_text(genome)
    variants = [
        ("snv", pos, text[pos - 1], alt) for pos in (400, 430) for alt in "ACGT" if alt != text[pos - 1]
    ]
    variants += [*variants[:4], ("snv", 450, text[449], text[449])]
    network = Counting(**made[0].network.architecture.model_dump())
    network.load_state_dict(made[0].network.state_dict())
    table = placed(genome, variants)
    counting = single(made[0]._replace(network=network))
    counted, scorer = score_counted([counting, counting], genome, table)
    # Two sites of one reference and three alternatives, and one that is the reference, on either strand.
    assert len(network.seen) == len(set(network.seen)) == scorer.n_run == 2 * (2 * 4 + 1)
    assert scorer.n_windows == 4 * len(table)
    # Computed in part or whole, the scores are the same.
    np.testing.assert_allclose(
        counted.alt[:, 0], score([single(made[0])], genome, table).alt[:, 0], rtol=0, atol=1e-5
    )


def test_of_several_shifts_the_largest_difference_counts(made, genome, contigs):
    table, shifts = placed(genome, contigs[1]), (0, -30, 17)
    predictors = [single(model) for model in made]
    found = score(predictors, genome, table, shifts=shifts)
    each = [score(predictors, genome, table, shifts=(shift,)) for shift in shifts]
    differences = np.stack([one.alt - one.ref for one in each])
    best = np.abs(differences).argmax(axis=0)
    np.testing.assert_array_equal(found.shift, np.array(shifts)[best])
    np.testing.assert_allclose(
        found.alt - found.ref, np.take_along_axis(differences, best[None], 0)[0], rtol=0, atol=2e-6
    )
    assert len(np.unique(best)) == 3  # the choice matters
    same = score(predictors, genome, table, shifts=(5, 5))
    assert (same.shift == 5).all()


def test_exclusive_classes_have_one_shift_by_their_log_odds(genome, contigs, tmp_path):
    (model,) = models(tmp_path, 1, ("a", "b", "c"), activation="softmax")
    table, shifts = placed(genome, contigs[1]), (0, -30, 17)
    found = score([single(model)], genome, table, shifts=shifts)
    each = [score([single(model)], genome, table, shifts=(shift,)) for shift in shifts]
    largest = [
        np.abs(log_odds(one.alt, "softmax") - log_odds(one.ref, "softmax")).max(axis=1) for one in each
    ]
    best = np.argmax(largest, axis=0)
    np.testing.assert_array_equal(found.shift, np.repeat(np.array(shifts)[best][:, None], 3, axis=1))
    np.testing.assert_allclose(
        found.alt, np.stack([each[b].alt[row] for row, b in enumerate(best)]), rtol=0, atol=1e-6
    )


def test_first_of_equal_shifts(made, genome):
    table = placed(genome, [("snv", 300, contig_text(genome)[299], contig_text(genome)[299])])
    assert score([single(made[0])], genome, table, shifts=(4, 0)).shift.tolist() == [[4]]


def test_of_equal_effects_rounding_chooses_no_shift(made, tmp_path):
    """A head without hidden layers sees the mean of what the variant changes, wherever in the window that is."""
    genome = write_genome(tmp_path / "long.fa", {"c": random_text(3_000, 1)})
    table = snvs(genome, "c", list(range(700, 2_200, 50)))
    torch.manual_seed(0)
    linear = ChromTransfer(**{**made[0].network.architecture.model_dump(), "head": ()}).eval()
    linear.trunk.load_state_dict(made[0].network.trunk.state_dict())
    model, width = single(made[0]._replace(network=linear)), 401  # the trunk sees 202 bp
    shifts = (10, 0, -10)
    found = score([model], genome, table, shifts=shifts, width=width)
    assert (found.shift == 10).all()
    each = np.stack([sizes(score([model], genome, table, shifts=(shift,), width=width)) for shift in shifts])
    assert (each.argmax(axis=0) > 0).any()  # which rounding would have chosen
    np.testing.assert_allclose(each, np.broadcast_to(each[0], each.shape), rtol=0, atol=2e-6)


def test_no_variants_no_scores(made, genome):
    scores = score([single(model) for model in made], genome, snvs(genome, "snv", []))
    assert [values.shape for values in scores] == [(0, 2)] * 3


def test_a_model_without_numbers_is_named(made, genome, tmp_path):
    (broken,) = models(tmp_path, 1)
    with torch.no_grad():
        broken.network.head[-1].bias.fill_(float("nan"))
    broken = broken._replace(name="damaged")
    with pytest.raises(ChromTransferError, match=r"'damaged'.*not finite"):
        score([single(made[1]), single(broken)], genome, snvs(genome, "snv", [300]))


def test_outside_of_ready_it_says_how(made, genome):
    with pytest.raises(RuntimeError, match=r"scorer\.ready"):
        Scorer([single(made[0])], genome, Settings(WIDTH)).score(snvs(genome, "snv", [300]))


def run_batches(codes, pairs, size):
    """All batches, each checked: what is called a copy is one."""
    rows = np.arange(len(codes))
    found = list(batches(codes, rows, np.array(pairs, dtype=np.int64).reshape(-1, 2).T, size))
    for batch in found:
        whole = codes[batch.sequences][batch.parents]
        differs = whole != codes[batch.copies]
        assert (differs.sum(axis=1) == 1).all()
        assert differs[:, batch.at].all()
    numbers = np.concatenate([np.concatenate([batch.sequences, batch.copies]) for batch in found])
    np.testing.assert_array_equal(np.sort(numbers), rows)  # each once
    return found


def test_each_window_is_in_one_batch_with_what_it_is_a_copy_of():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 2, (32, 5), dtype=np.uint8)
    codes = np.unique(codes, axis=0)  # nearly all words of five letters: each is close to five others
    pairs = rng.integers(-1, len(codes), (300, 2))
    for size in (1, 4, 100):
        found = run_batches(codes, pairs, size)
        assert max(len(batch.sequences) + len(batch.copies) for batch in found) < size + 6
    assert sum(len(batch.copies) for batch in found) > 5
    assert len({batch.at for batch in found if len(batch.copies)}) > 1


def test_pairs_of_snvs_are_copies_and_others_stand_alone():
    codes = np.random.default_rng(0).integers(0, 4, (10, 50), dtype=np.uint8)
    codes[5:8] = codes[:3]
    codes[5:8, 24] = (codes[:3, 24] + 1) % 4  # three SNVs; windows 3 and 4 differ from 8 and 9 in many bases
    found = run_batches(codes, [(0, 5), (1, 6), (2, 7), (3, 8), (4, 9), (-1, 0)], 4)
    assert [len(batch.copies) for batch in found] == [0, 2, 1]
    assert {batch.at for batch in found if len(batch.copies)} == {24}
