"""Laws that hold whatever the models have learned, from VCF to table."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from kipoi_cases import make_checkpoint
from vcf_cases import (
    changed,
    padded,
    placements,
    random_variants,
    repetitive,
    reverse_complement,
    write_genome,
    write_vcf,
)

from chromtransfer_plugin.variants.run import score_variants

LINES = ("A549", "K562")
MEASURES = ("p_ref", "p_alt", "difference", "log_odds")
COLUMNS = ("one", "other", "multi.A549", "multi.K562")
# Windows of one run that are the same share one result. Those of other runs come in other batches, in which float32 sums
# may be taken in another order: logits of about 1 then differ in the seventh digit.
ROUNDING = {"rtol": 0, "atol": 1e-5}


class World(NamedTuple):
    """Models, and variants (start, deleted, inserted) on a text with many repeats."""

    folder: Path
    text: str
    variants: list[tuple[int, str, str]]

    def genome(self, name: str, **contigs: str) -> Path:
        return write_genome(self.folder / f"{name}.fa", **contigs).path

    def vcf(self, name: str, rows, contigs=("chr1",)) -> Path:
        return write_vcf(self.folder / f"{name}.vcf", rows, contigs)

    def score(self, genome: Path, vcf: Path, models=("one", "other", "multi"), **options) -> pd.DataFrame:
        out = self.folder / "out.parquet"
        options = {"null": "none", "device": "cpu", **options}
        score_variants(vcf, out, genome=genome, models=[self.folder / name for name in models], **options)
        return pd.read_parquet(out)


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    folder = tmp_path_factory.mktemp("laws")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHROMTRANSFER_CACHE", str(folder / "cache"))
        make_checkpoint(folder / "one")
        make_checkpoint(folder / "other", seed=2)
        make_checkpoint(folder / "multi", LINES, "softmax", seed=3)
        rng = np.random.default_rng(7)
        text = repetitive(rng)
        yield World(folder, text, random_variants(rng, text, 40))


@pytest.fixture(scope="module")
def plain(world) -> pd.DataFrame:
    """Scores of the variants, one by one as they are written with a base before."""
    genome = world.genome("plain", chr1=world.text)
    table = world.score(genome, world.vcf("plain", [padded(world.text, *v) for v in world.variants]))
    assert (table["status"] == "scored").all()
    assert (np.abs(numbers(table, "log_odds")) > 1e-4).mean() > 0.9  # not all zero: the laws say something
    return table


def numbers(table: pd.DataFrame, *measures: str, columns=COLUMNS) -> np.ndarray:
    """(measures, rows, columns)."""
    names = [[f"{column}.{measure}" for column in columns] for measure in measures or MEASURES]
    return np.stack([table[some].to_numpy() for some in names])


@pytest.mark.parametrize("options", [{}, {"strand": "forward"}, {"shifts": (-30, 0, 50)}])
def test_same_alleles_have_exactly_no_effect(world, options):
    rows = [
        (p + 1, world.text[p : p + k], world.text[p : p + k])
        for p, k in [(1_000, 1), (1_500, 7), (2_000, 40)]
    ]
    start, old, new = world.variants[0]
    vcf = world.vcf("same", [*rows, padded(world.text, start, old, new)])
    table = world.score(world.genome("same", chr1=world.text), vcf, null="genome", null_size=20, **options)
    same = table.iloc[:3]
    assert (numbers(same, "difference", "log_odds", "percentile") == 0).all()
    assert (numbers(same, "p_value") == 1).all()
    assert np.array_equal(numbers(same, "p_ref"), numbers(same, "p_alt"))
    assert (numbers(table.iloc[3:], "difference") != 0).all()


@pytest.mark.parametrize("swap", [False, True])
def test_exchanging_the_alleles_changes_the_sign(world, plain, swap):
    """Each variant on a contig of its own, where ALT is the genome's; or, to be swapped, as it was written."""
    contigs = {f"c{k}": changed(world.text, *v) for k, v in enumerate(world.variants)}
    rows = []
    for (name, text), (start, old, new) in zip(contigs.items(), world.variants, strict=True):
        pos, ref, alt = padded(text, start, new, old)
        alleles = (alt, ref) if swap else (ref, alt)
        rows.append("\t".join([name, str(pos), ".", *alleles, ".", ".", "."]))
    vcf = world.vcf("exchanged", rows, tuple(contigs))
    table = world.score(world.genome("exchanged", **contigs), vcf, swap=swap)
    ref, alt, difference, log_odds = numbers(table)
    wanted = numbers(plain)
    if swap:
        # Within a repeat the genome can begin with both alleles; REF then counts.
        swapped = table["flags"].str.contains("swapped").to_numpy()
        indels = np.array([not (old and new) for _, old, new in world.variants])
        assert swapped[~indels].all()
        assert swapped.sum() >= 20
        np.testing.assert_allclose(numbers(table)[:, swapped], wanted[:, swapped], **ROUNDING)
    else:
        np.testing.assert_allclose(np.stack([alt, ref, -difference, -log_odds]), wanted, **ROUNDING)


@pytest.mark.parametrize("options", [{}, {"shifts": (-35, 0, 35)}])
def test_the_other_strand_of_everything_scores_the_same(world, plain, options):
    text = reverse_complement(world.text)
    rows = []
    for start, old, new in world.variants:
        there = len(text) - start - len(old)
        rows.append(padded(text, there, reverse_complement(old), reverse_complement(new)))
    table = world.score(world.genome("minus", chr1=text), world.vcf("minus", rows), **options)
    wanted = plain
    if options:
        vcf = world.vcf("plain", [padded(world.text, *v) for v in world.variants])
        wanted = world.score(world.genome("plain", chr1=world.text), vcf, **options)
        assert not np.allclose(numbers(wanted), numbers(plain), **ROUNDING)
    np.testing.assert_allclose(numbers(table), numbers(wanted), **ROUNDING)


def test_every_way_of_writing_an_indel_scores_identically(world):
    rows, groups = [], []
    for number, (start, old, new) in enumerate(world.variants):
        if old and new:
            continue
        wanted = changed(world.text, start, old, new)
        for place in placements(world.text, old, new, wanted):
            k = len(old) or len(new)
            alleles = (world.text[place : place + k], "") if old else ("", wanted[place : place + k])
            for before, after in ((1, 0), (0, 1), (3, 2)):
                rows.append(padded(world.text, place, *alleles, before, after))
                groups.append(number)
    table = world.score(world.genome("ways", chr1=world.text), world.vcf("ways", rows))
    assert (table["status"] == "scored").all()
    assert len(rows) > 3 * len(set(groups))  # some can be written at several places
    for rows_of_one in pd.Series(groups).groupby(groups).groups.values():
        same = numbers(table.iloc[rows_of_one])
        assert (same == same[:, :1]).all()
    firsts = numbers(table.iloc[pd.Series(groups).drop_duplicates().index], "log_odds")
    assert len(np.unique(firsts[0, :, 0])) > 10


def test_an_ensemble_is_the_mean_of_its_members_logits(world):
    vcf = world.vcf("mean", [padded(world.text, *v) for v in world.variants])
    ensembles = [f"mean={world.folder / name}" for name in ("one", "other")]
    table = world.score(world.genome("mean", chr1=world.text), vcf, ensembles=ensembles)
    p = numbers(table, "p_ref", "p_alt", columns=("one", "other", "mean")).astype(np.float64)
    logits = np.log(p / (1 - p))
    np.testing.assert_allclose(logits[..., 2], logits[..., :2].mean(axis=-1), atol=2e-6)
    assert np.abs(logits[..., 0] - logits[..., 1]).min() > 1e-3
    log_odds = numbers(table, "log_odds", columns=("one", "other", "mean"))[0]
    np.testing.assert_allclose(log_odds[:, 2], log_odds[:, :2].mean(axis=1), atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 7, 1_000])
def test_batch_size_changes_nothing(world, plain, batch_size):
    vcf = world.vcf("batch", [padded(world.text, *v) for v in world.variants])
    table = world.score(world.genome("batch", chr1=world.text), vcf, batch_size=batch_size)
    np.testing.assert_allclose(numbers(table), numbers(plain), **ROUNDING)


def test_other_models_in_the_run_change_nothing(world, plain):
    vcf = world.vcf("single", [padded(world.text, *v) for v in world.variants])
    table = world.score(world.genome("single", chr1=world.text), vcf, models=("other",))
    np.testing.assert_allclose(
        numbers(table, columns=("other",)), numbers(plain, columns=("other",)), **ROUNDING
    )


def test_the_order_of_the_records_changes_nothing(world, plain):
    order = np.random.default_rng(0).permutation(len(world.variants))
    vcf = world.vcf("order", [padded(world.text, *world.variants[k]) for k in order])
    table = world.score(world.genome("order", chr1=world.text), vcf)
    np.testing.assert_allclose(numbers(table), numbers(plain)[:, order], **ROUNDING)


def test_the_cache_changes_no_bit(world, plain, tmp_path):
    vcf = world.vcf("cached", [padded(world.text, *v) for v in world.variants])
    genome, cache = world.genome("cached", chr1=world.text), tmp_path / "windows"
    first, again = (world.score(genome, vcf, cache=cache) for _ in range(2))
    assert cache.exists()
    assert np.array_equal(numbers(first), numbers(plain))
    assert np.array_equal(numbers(again), numbers(first))


def test_null_and_scores_are_of_one_kind(world, tmp_path):
    """The variants that a null is made of have, among themselves, each percentile once."""
    rows = [padded(world.text, *v) for v in world.variants]
    vcf = world.vcf("own", rows)
    table = world.score(world.genome("own", chr1=world.text), vcf, null=vcf, null_size=1_000)
    n = len(rows)
    for column in COLUMNS:
        order = np.argsort(np.abs(table[f"{column}.log_odds"]))
        np.testing.assert_allclose(table[f"{column}.percentile"][order], 100 * np.arange(n) / n, atol=150 / n)
        np.testing.assert_allclose(
            table[f"{column}.p_value"][order], (n + 1 - np.arange(n)) / (n + 1), atol=1.5 / n
        )
