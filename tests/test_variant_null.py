"""What a null draws, what its numbers mean, and that it is paid for once."""

from __future__ import annotations

import warnings
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from kipoi_cases import make_checkpoint, make_genome
from vcf_cases import write_genome, write_vcf

from chromtransfer_plugin.checkpoint import load_model
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.friendly import ChromTransferWarning
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.onehot import decode, encode, reverse_complement_codes
from chromtransfer_plugin.predict import predict_logits
from chromtransfer_plugin.variants import null, null_variants
from chromtransfer_plugin.variants.models import choose_predictors
from chromtransfer_plugin.variants.null import FOLDER, Null, make_null
from chromtransfer_plugin.variants.null_variants import draw_snvs, reach, shuffled_contexts
from chromtransfer_plugin.variants.scorer import Scorer, Settings
from chromtransfer_plugin.variants.windows import allele_windows

LINES = ("A549", "K562")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CHROMTRANSFER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / FOLDER


def settings(width=600, **more) -> Settings:
    return Settings(width, device="cpu", **more)


# --- percentile and p-value ------------------------------------------------------------------------------


def test_percentile_and_p_value_by_hand():
    found = Null(np.array([[0, 5], [1, 5], [1, 5], [2, 9]], dtype=np.float32), {})
    effects = np.array([[0, 5], [-1, -9], [1.5, 4], [3, 10], [np.nan, 1]], dtype=np.float32)
    percentile, p = found.percentile(effects), found.p_value(effects)
    np.testing.assert_array_equal(percentile, [[0, 0], [25, 75], [75, 0], [100, 100], [np.nan, 0]])
    np.testing.assert_allclose(p, np.array([[5, 5], [4, 2], [2, 5], [1, 1], [np.nan, 5]]) / 5, rtol=1e-7)
    assert percentile.dtype == p.dtype == np.float32
    assert found.p_value(np.zeros((0, 2), dtype=np.float32)).shape == (0, 2)


def test_a_drawn_effect_is_as_large_as_itself():
    """Also if it comes as a float64 that rounds to the same float32."""
    sizes = np.sort(np.random.default_rng(0).random((99, 1)).astype(np.float32), axis=0)
    found = Null(sizes, {})
    ranks = np.arange(99)[:, None]
    for effects in (sizes, -sizes, sizes.astype(np.float64) * (1 + 1e-9)):
        np.testing.assert_allclose(found.percentile(effects), 100 * ranks / 99, rtol=1e-6)
        np.testing.assert_allclose(found.p_value(effects), (100 - ranks) / 100, rtol=1e-6)


# --- which places ----------------------------------------------------------------------------------------


def patchy(rng) -> dict[str, str]:
    """Contigs with runs of N of many lengths, at the ends too, and one that is too short for a window."""
    pieces = [
        "".join(rng.choice(list("ACGTn" if k % 3 else "N"), 1 if k % 5 == 0 else int(rng.integers(1, 60))))
        for k in range(60)
    ]
    known = "".join(rng.choice(list("ACGT"), 400))
    return {"a": "NN" + known[:90] + "".join(pieces) + known, "tiny": "ACGTACGT", "b": known[:61] + "N"}


def places_by_hand(text: dict[str, str], before: int, after: int, inside=lambda chrom, p: True):
    return {
        (chrom, p)
        for chrom, letters in text.items()
        for p in range(before, len(letters) - after + 1)
        if set(letters[p - before : p + after].upper()) <= set("ACGT") and inside(chrom, p)
    }


@pytest.mark.parametrize("chunk", [7, 1 << 18])
@pytest.mark.parametrize("shifts", [(0,), (-4, 0, 9)])
@pytest.mark.parametrize("width", [1, 20, 21])
def test_every_place_whose_windows_are_known_can_be_drawn(tmp_path, monkeypatch, chunk, shifts, width):
    monkeypatch.setattr(null_variants, "_CHUNK", chunk)
    text = patchy(np.random.default_rng(1))
    genome = write_genome(tmp_path / "g.fa", **text)
    how = settings(width, shifts=shifts)
    wanted = places_by_hand(text, *reach(how))
    assert len(wanted) > 100
    table = draw_snvs(genome, len(wanted), how, seed=1)
    assert set(zip(table["chrom"], table["start"], strict=True)) == wanted
    assert table["old"].tolist() == [
        text[c][p].upper() for c, p in zip(table["chrom"], table["start"], strict=True)
    ]
    assert (table["old"] != table["new"]).all()
    for strand in ("+", "-"):
        for shift in shifts:
            assert (allele_windows(genome, table, "alt", width, strand, shift) < 4).all()
    with pytest.raises(ChromTransferError, match=f"the genome has only {len(wanted):,} places for a null of"):
        draw_snvs(genome, len(wanted) + 1, how, seed=1)


@pytest.mark.parametrize("chunk", [7, 1 << 18])
def test_places_in_regions_count_once(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(null_variants, "_CHUNK", chunk)
    text = patchy(np.random.default_rng(2))
    genome = write_genome(tmp_path / "g.fa", **text)
    rows = [
        ("b", 0, 62),
        ("a", 30, 50),
        ("a", 35, 40),
        ("a", 45, 70),
        ("a", 70, 71),
        ("a", 300, 301),
        ("a", 80, 90),
    ]
    regions = pd.DataFrame(rows, columns=["chrom", "start", "end"])
    how = settings(20)
    wanted = places_by_hand(
        text, *reach(how), lambda chrom, p: any(c == chrom and a <= p < b for c, a, b in rows)
    )
    assert {chrom for chrom, _ in wanted} == {"a", "b"}
    table = draw_snvs(genome, len(wanted), how, 1, regions)
    assert set(zip(table["chrom"], table["start"], strict=True)) == wanted
    with pytest.raises(ChromTransferError, match=f"the regions have only {len(wanted)} places"):
        draw_snvs(genome, len(wanted) + 1, how, 1, regions)


def test_one_island_in_a_sea_of_unknown_bases(tmp_path):
    genome = write_genome(tmp_path / "g.fa", chr1="N" * 3_000_000 + "ACGTTGCA" * 80 + "N" * 3_000_000)
    table = draw_snvs(genome, 40, settings(), seed=1)  # 640 bases: room for 640 - 600 places
    assert table["start"].between(3_000_300, 3_000_339).all()
    assert table["start"].is_unique
    empty = write_genome(tmp_path / "n.fa", chr1="N" * 5_000)
    with pytest.raises(
        ChromTransferError, match=r"only 0 places for a null of 1 variants: .*300 known bases before and 300"
    ):
        draw_snvs(empty, 1, settings(), seed=1)


def test_draws_are_even_and_transitions_as_frequent_as_said(tmp_path):
    n = 40_000
    genome = write_genome(
        tmp_path / "g.fa", chr1="".join(np.random.default_rng(3).choice(list("ACGT"), 2 * n))
    )
    table = draw_snvs(genome, n, settings(20), seed=4)
    changes = Counter(zip(table["old"], table["new"], strict=True))
    transitions = {("A", "G"), ("G", "A"), ("C", "T"), ("T", "C")}
    assert len(changes) == 12
    for old in "ACGT":
        total = sum(changes[old, new] for new in "ACGT")
        for new in set("ACGT") - {old}:
            chance = (2.1 if (old, new) in transitions else 0.5) / 3.1
            assert abs(changes[old, new] - total * chance) < 4 * np.sqrt(total * chance * (1 - chance))
    bins = np.histogram(table["start"], bins=20, range=(0, 2 * n))[0]
    assert np.abs(bins - n / 20).max() < 4 * np.sqrt(n / 20)  # without replacement they vary even less


def test_the_seed_decides(tmp_path):
    genome = write_genome(
        tmp_path / "g.fa", chr1="".join(np.random.default_rng(3).choice(list("ACGT"), 3_000))
    )
    one, same, other = (draw_snvs(genome, 50, settings(), seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one, same)
    assert set(one["start"]) != set(other["start"])


def test_shuffled_sides_keep_what_they_must(tmp_path):
    genome = write_genome(
        tmp_path / "g.fa", chr1="".join(np.random.default_rng(3).choice(list("ACGT"), 3_000))
    )
    how = settings(100, shifts=(0, 30))
    table = draw_snvs(genome, 20, how, seed=1)
    contexts, placed = shuffled_contexts(genome, table, how, seed=1)
    before, after = reach(how)
    assert (before, after) == (50, 81)
    shuffled = [
        decode(row) for row in contexts.extract(np.arange(20), np.zeros(20, np.int64), before + after)
    ]
    original = [genome.sequence("chr1", p - before, p + after) for p in table["start"]]
    for new, old in zip(shuffled, original, strict=True):
        assert new != old
        assert new[before - 1 : before + 2] == old[before - 1 : before + 2]
        assert (new[0], new[-1]) == (old[0], old[-1])
        assert Counter(pairwise(new)) == Counter(pairwise(old))
    assert placed[["old", "new"]].equals(table[["old", "new"]])
    again = shuffled_contexts(genome, table, how, seed=1)[0]
    other = shuffled_contexts(genome, table, how, seed=2)[0]
    whole = (np.arange(20), np.zeros(20, np.int64), before + after)
    assert np.array_equal(again.extract(*whole), contexts.extract(*whole))
    assert not np.array_equal(other.extract(*whole), contexts.extract(*whole))


# --- scores ----------------------------------------------------------------------------------------------


class World(NamedTuple):
    folder: Path
    genome: Genome
    text: dict[str, str]

    def predictors(self, *names: str):
        return choose_predictors([self.folder / name for name in names or ("one", "multi")])

    def scorer(self, *names: str, **more) -> Scorer:
        return Scorer(self.predictors(*names), self.genome, settings(**more))

    def make(self, kind="genome", size=30, scorer=None, seed=1, regions=None) -> Null:
        scorer = scorer or self.scorer()
        with scorer.ready():
            return make_null(kind, size, scorer, self.genome, seed, regions)


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    folder = tmp_path_factory.mktemp("null")
    make_checkpoint(folder / "one")
    make_checkpoint(folder / "multi", LINES, "softmax", seed=3)
    text = {name: letters.upper() for name, letters in make_genome(folder / "g.fa").items()}
    return World(folder, Genome(folder / "g.fa", folder / "genome"), text)


def sizes_by_hand(world: World, pairs: list[tuple[str, str]]) -> np.ndarray:
    """Sorted absolute log-odds differences of windows of REF and ALT, read on both strands."""
    codes = np.stack([encode(text) for pair in pairs for text in pair])
    columns = []
    for name in ("one", "multi"):
        network, _ = load_model(world.folder / name)
        logits = (
            predict_logits(network, codes) + predict_logits(network, reverse_complement_codes(codes))
        ) / 2
        z = logits.astype(np.float64).reshape(len(pairs), 2, -1)
        z = z[..., :1] if name == "one" else z - z[..., ::-1]  # of two classes, the other one's logit
        columns.append(np.abs(z[:, 1] - z[:, 0]))
    return np.sort(np.concatenate(columns, axis=1), axis=0)


def test_genome_null_by_hand(world):
    """Window 601: both strands centre on the same base, so one window of text serves both."""
    found = world.make(scorer=world.scorer(width=601))
    table = draw_snvs(world.genome, 30, settings(601), seed=1)
    pairs = []
    for row in table.itertuples():
        text = world.text[row.chrom]
        left, right = text[row.start - 300 : row.start], text[row.start + 1 : row.start + 301]
        pairs.append((left + row.old + right, left + row.new + right))
    np.testing.assert_allclose(found.sizes, sizes_by_hand(world, pairs), atol=1e-5)
    assert found.sizes.dtype == np.float32
    assert found.sizes.min() > 0
    assert found.facts["kind"] == "genome"
    assert (found.facts["size"], found.facts["seed"]) == (30, 1)


def test_shuffled_null_by_hand(world):
    how = settings(601)
    found = world.make("shuffled", scorer=world.scorer(width=601))
    contexts, table = shuffled_contexts(world.genome, draw_snvs(world.genome, 30, how, 1), how, 1)
    pairs = []
    for row, codes in zip(
        table.itertuples(), contexts.extract(np.arange(30), np.zeros(30, np.int64), 601), strict=True
    ):
        text = decode(codes)
        assert text[300] == row.old
        pairs.append((text, text[:300] + row.new + text[301:]))
    np.testing.assert_allclose(found.sizes, sizes_by_hand(world, pairs), atol=1e-5)


def test_regions_decide_where(world, tmp_path):
    bed = tmp_path / "r.bed"
    bed.write_text("chr1\t1000\t1020\nchr1\t1010\t1030\nchr9\t5\t9\n")
    scorer = world.scorer()
    with pytest.warns(ChromTransferWarning, match="1 x contig is not in the genome"):
        inside = world.make(size=30, scorer=scorer, regions=bed)
    assert scorer.n_windows == 30 * 4  # all 30 bases of the union, each once
    assert inside.facts["regions_sha256"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ChromTransferWarning)
        with pytest.raises(ChromTransferError, match="only 30 places for a null of 31 variants"):
            world.make(size=31, regions=bed)


def test_shifts_take_the_largest(world):
    plain, shifted = world.make(), world.make(scorer=world.scorer(shifts=(0, -40, 40)))
    assert shifted.sizes.mean() > plain.sizes.mean()


def test_variants_of_a_vcf(world, tmp_path):
    chr1 = world.text["chr1"]
    other = dict(zip("ACGT", "CGTA", strict=True))
    rows = [(p, chr1[p - 1], other[chr1[p - 1]]) for p in range(1_000, 1_200, 10)]
    rows += [
        (1_300, chr1[1_299], chr1[1_299]),
        (50, chr1[49], other[chr1[49]]),
        (1_400, other[chr1[1_399]], "*"),
    ]
    rows += [
        "chr2\t2500\t.\tA\tC\t.\t.\t.",
        f"chr2\t1900\t.\t{world.text['chr2'][1899]}\t{other[world.text['chr2'][1899]]}\t.\t.\t.",
    ]
    rows += [(1_250, chr1[1_249:1_252], chr1[1_249])]
    vcf = write_vcf(tmp_path / "common.vcf", rows, ("chr1", "chr2"))
    whole = world.make(vcf, size=100)
    assert whole.facts["kind"] == "vcf"
    assert (
        whole.facts["size"] == len(whole.sizes) == 21
    )  # not: no change, off the contig, star, N, N in the window
    few, again, others = (
        world.make(vcf, size=8),
        world.make(str(vcf), size=8),
        world.make(vcf, size=8, seed=2),
    )
    for found in (few, others):
        assert len(found.sizes) == 8
        assert np.isin(found.sizes[:, 0], whole.sizes[:, 0]).all()
    assert np.array_equal(few.sizes, again.sizes)
    assert not np.array_equal(few.sizes, others.sizes)
    none = write_vcf(tmp_path / "none.vcf", [(1_300, chr1[1_299], "*")])
    with pytest.raises(ChromTransferError, match=r"none\.vcf: has no variant that a null could use"):
        world.make(none)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"kind": "genomes"},
            "null is 'genomes', expected one of genome, shuffled, or a VCF; there is no such file",
        ),
        ({"size": 0}, "null size is 0, expected at least 1"),
        ({"kind": "shuffled", "seed": 1 << 32}, "null seed is 4294967296, expected 0 to 4294967295"),
        ({"regions": "no.bed"}, r"null regions no\.bed: no such file, expected a BED"),
        ({"seed": -1}, "null seed is -1, expected 0"),
        ({"size": 10**9}, r"only [0-9,]+ places for a null of 1,000,000,000 variants"),
    ],
)
def test_refusals(world, arguments, message):
    with pytest.raises(ChromTransferError, match=message):
        world.make(**arguments)


def test_regions_have_no_use_for_a_vcf(world, tmp_path):
    vcf = write_vcf(tmp_path / "v.vcf", [(1_300, world.text["chr1"][1_299], "*")])
    with pytest.raises(ChromTransferError, match="null regions have no use"):
        world.make(vcf, regions=vcf)


# --- kept ------------------------------------------------------------------------------------------------


def test_what_was_drawn_is_read_the_next_time(world, cache, monkeypatch):
    first = world.make()
    (file,) = cache.iterdir()
    scorer = world.scorer(batch_size=7)
    again = world.make(scorer=scorer)
    assert scorer.n_windows == 0
    assert np.array_equal(first.sizes, again.sizes)
    assert first.facts == again.facts
    monkeypatch.setattr(null, "_BLOCK", 7)
    file.unlink()
    np.testing.assert_allclose(world.make().sizes, first.sizes, atol=1e-5)


def test_a_damaged_file_is_drawn_again(world, cache):
    first = world.make()
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    middle = whole[:200] + bytes([whole[200] ^ 1]) + whole[201:]
    for damaged in (b"", whole[:-30], whole[: len(whole) // 2], b"x" * 500, middle):
        file.write_bytes(damaged)
        assert np.array_equal(world.make().sizes, first.sizes)
        assert file.read_bytes() == whole
    np.savez(file, sizes=first.sizes, identity=np.array('{"other": 1}'))
    scorer = world.scorer()
    world.make(scorer=scorer)
    assert scorer.n_windows > 0


def test_nothing_else_is_taken_for_it(world, cache, tmp_path):
    bed = tmp_path / "r.bed"
    bed.write_text("chr1\t1000\t3000\n")
    world.make()
    for number, (arguments, of_scorer) in enumerate(
        [
            ({"size": 31}, {}),
            ({"seed": 2}, {}),
            ({"kind": "shuffled"}, {}),
            ({"regions": bed}, {}),
            ({}, {"width": 598}),
            ({}, {"strands": ("+",)}),
            ({}, {"shifts": (0, 1)}),
        ],
        start=2,
    ):
        world.make(scorer=world.scorer(**of_scorer), **arguments)
        assert len(list(cache.iterdir())) == number
    world.make(scorer=world.scorer("multi"))
    bed.write_text("chr1\t1000\t3001\n")
    world.make(regions=bed)
    assert len(list(cache.iterdir())) == 10


def test_other_devices_round_otherwise_and_draw_their_own(world, cache, monkeypatch):
    world.make()
    monkeypatch.setattr(null, "pick_device", lambda _: torch.device("cuda"))
    world.make()
    assert len(list(cache.iterdir())) == 2


def test_names_of_models_do_not_matter(world, cache):
    named = choose_predictors([f"x={world.folder / 'one'}", f"y={world.folder / 'multi'}"])
    first, second = world.make(), world.make(scorer=Scorer(named, world.genome, settings()))
    assert len(list(cache.iterdir())) == 1
    assert np.array_equal(first.sizes, second.sizes)


def test_a_cache_that_cannot_be_written_is_no_error(world, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CHROMTRANSFER_CACHE", str(tmp_path / "file"))
    assert len(world.make().sizes) == 30
