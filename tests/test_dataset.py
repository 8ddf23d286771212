"""Labelled windows: targets, splits, order of visits and batches; and tiles of the genome."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from genome_helpers import write_fasta, write_lines

from chromtransfer_plugin.dataset import (
    Windows,
    all_folds,
    batches,
    epoch_order,
    load_windows,
    one_hot_targets,
    split_windows,
    with_flank,
)
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.tiles import away_from, genome_tiles

WIDTH = 20


@pytest.fixture
def genome(tmp_path) -> Genome:
    rng = np.random.default_rng(0)
    contigs = {f"chr{i}": "".join(rng.choice(list("ACGT"), 400)) for i in (1, 2, 3, 4)}
    return Genome(write_fasta(tmp_path / "g.fa", contigs))


@pytest.fixture
def regions(tmp_path) -> Path:
    """Ten windows on each of four contigs; labels A, B, C in turn."""
    rows = [f"chr{c}:{40 * i}-{40 * i + WIDTH},{'ABC'[i % 3]}" for c in (1, 2, 3, 4) for i in range(10)]
    return write_lines(tmp_path, "regions.csv", *rows)


@pytest.fixture
def windows(genome, regions) -> Windows:
    return load_windows(genome, regions, positive="A", width=WIDTH)[0]


# --- windows and targets ---------------------------------------------------------------------------------


def test_windows_hold_the_sequences_and_targets_of_the_rows(genome, regions):
    windows, report = load_windows(genome, regions, positive=["A", "C"], width=WIDTH)
    assert windows.n == 40
    assert windows.codes.dtype == np.uint8
    assert windows.targets.dtype == np.float32
    for i, row in enumerate(regions.read_text().splitlines()):
        place, label = row.split(",")
        chrom, span = place.split(":")
        start, end = map(int, span.split("-"))
        text = genome.sequence(chrom, start, end)
        assert "".join("ACGT"[code] for code in windows.codes[i]) == text
        assert windows.targets[i].tolist() == [float(label in "AC")]
        assert tuple(windows.table.loc[i, ["chrom", "start", "end", "label"]]) == (chrom, start, end, label)
    assert "40 rows read, 40 kept" in report


def test_several_files_follow_each_other(genome, regions, tmp_path):
    other = write_lines(tmp_path, "more.csv", "chr4:100-120,A")
    windows, report = load_windows(genome, [regions, other], positive="A", width=WIDTH)
    assert windows.n == 41
    assert windows.table["start"].iloc[-1] == 100
    assert [line.split(" ")[0] for line in report.splitlines()] == [str(regions), str(other)]


def test_classes_become_one_hot_columns_in_the_order_given(genome, regions):
    windows, _ = load_windows(genome, regions, classes=["C", "A", "B"], width=WIDTH)
    wanted = {"A": [0, 1, 0], "B": [0, 0, 1], "C": [1, 0, 0]}
    assert windows.targets.tolist() == [wanted[label] for label in windows.table["label"]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "give either `positive`"),
        ({"positive": "A", "classes": ["A", "B", "C"]}, "exactly one"),
        ({"positive": "D"}, "no region has the label 'D'. Labels and counts: A 16, B 12, C 12"),
        ({"positive": ["A", "D"]}, "no region has the label 'D'"),
        ({"classes": ["A", "B"]}, "labels ['C'] are not among the classes ['A', 'B']"),
        ({"classes": ["A", "B", "C", "D"]}, "no region has the label(s) ['D']"),
    ],
)
def test_labels_that_do_not_fit(genome, regions, arguments, message):
    with pytest.raises(ChromTransferError) as error:
        load_windows(genome, regions, width=WIDTH, **arguments)
    assert message in str(error.value)


def test_one_hot_targets_by_hand():
    targets = one_hot_targets(pd.Series(["b", "a", "b"]), ["a", "b"], "x.csv")
    assert targets.tolist() == [[0, 1], [1, 0], [0, 1]]
    assert targets.dtype == np.float32


def test_fingerprint_follows_sequences_and_targets(windows):
    same = Windows(windows.codes.copy(), windows.targets.copy(), windows.table)
    assert same.fingerprint() == windows.fingerprint()
    for array, value in ((same.codes, 4), (same.targets, 0.5)):
        kept = array[3, 0]
        array[3, 0] = value
        assert same.fingerprint() != windows.fingerprint()
        array[3, 0] = kept
    assert windows.take(np.arange(39)).fingerprint() != windows.fingerprint()


# --- splits ----------------------------------------------------------------------------------------------


def chromosomes(windows: Windows) -> set[str]:
    return set(windows.table["chrom"])


def test_split_is_a_partition_by_chromosome(windows):
    splits = split_windows(windows, test_chromosomes=["chr2"], folds=3, fold=1, report="r")
    sets = [chromosomes(part) for part in splits[:3]]
    assert sets[2] == {"chr2"}
    assert sets[0] | sets[1] == {"chr1", "chr3", "chr4"}
    assert [len(s) for s in sets] == [2, 1, 1]
    assert splits.report == "r"
    rows = pd.concat([part.table for part in splits[:3]])[["chrom", "start"]]
    assert len(rows.drop_duplicates()) == 40


def test_each_window_is_validated_in_exactly_one_fold(windows):
    held = [
        split_windows(windows, test_chromosomes=["chr1"], folds=3, fold=k, fold_by="locus").validation
        for k in range(3)
    ]
    rows = pd.concat([part.table for part in held])[["chrom", "start"]]
    assert len(rows) == len(rows.drop_duplicates()) == 30


def test_one_test_chromosome_may_be_given_as_text(windows):
    """As a sequence of letters it would hold out nothing, and the model would train on its test set."""
    splits = split_windows(windows, test_chromosomes="chr2")
    assert chromosomes(splits.test) == {"chr2"}
    assert split_windows(windows, test_chromosomes=[]).test.n == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"test_chromosomes": ["2"]},
            "no window lies on the test chromosomes ['2'], only on ['chr1', 'chr2'",
        ),
        ({"fold": 3}, "fold=3 does not exist: with folds=3 use 0 to 2"),
        ({"fold": -1}, "fold=-1 does not exist"),
        ({"test_chromosomes": ["chr1", "chr2", "chr3"]}, "3 folds need at least 3 chromosomes"),
        ({"test_chromosomes": ["chr1", "chr2", "chr3", "chr4"]}, "there are 0"),
        ({"fold_by": "window"}, "by is 'window'"),
    ],
)
def test_impossible_splits(windows, arguments, message):
    with pytest.raises(ChromTransferError) as error:
        split_windows(windows, **{"test_chromosomes": ["chr1"], **arguments})
    assert message in str(error.value)


# --- order and batches -----------------------------------------------------------------------------------


def test_order_is_a_function_of_seed_and_epoch_only():
    first = epoch_order(100, 7, 3)
    np.random.default_rng().random(5)
    np.testing.assert_array_equal(first, epoch_order(100, 7, 3))
    assert sorted(first) == list(range(100))
    for other in (epoch_order(100, 7, 4), epoch_order(100, 8, 3), np.arange(100)):
        assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("n", "size", "sizes"), [(40, 16, [16, 16, 8]), (33, 16, [16, 17]), (1, 16, [1]), (32, 16, [16, 16])]
)
def test_batches_visit_every_window_once_and_leave_none_alone(windows, n, size, sizes):
    part, cpu = windows.take(np.arange(n)), torch.device("cpu")
    order = epoch_order(n, 1, 0)
    pairs = list(batches(part, size, cpu, order))
    assert [len(X) for X, _ in pairs] == [len(y) for _, y in pairs] == sizes
    X, y = (torch.cat(parts).numpy() for parts in zip(*pairs, strict=True))
    assert X.dtype == np.float32
    np.testing.assert_array_equal(X, np.eye(4)[part.codes[order]].transpose(0, 2, 1))
    np.testing.assert_array_equal(y, part.targets[order])


def test_batches_without_an_order_are_in_file_order(windows):
    X, y = zip(*batches(windows.take(np.arange(33)), 16, torch.device("cpu")), strict=True)
    assert [len(part) for part in X] == [16, 16, 1]
    np.testing.assert_array_equal(torch.cat(y).numpy(), windows.targets[:33])


# --- tiles -----------------------------------------------------------------------------------------------


def test_tiles_lie_on_the_grid_and_hold_no_unknown_base(tmp_path):
    contigs = {"a": "ACGT" * 10, "b": "A" * 9 + "N" + "C" * 15, "c": "G" * 9, "d": "acgtacgtac"}
    table = genome_tiles(Genome(write_fasta(tmp_path / "t.fa", contigs)), width=10)
    wanted = [("a", 0, 10), ("a", 10, 20), ("a", 20, 30), ("a", 30, 40), ("b", 10, 20), ("d", 0, 10)]
    assert list(table.itertuples(index=False, name=None)) == wanted


def test_no_tile_at_all_is_an_empty_table(tmp_path):
    table = genome_tiles(Genome(write_fasta(tmp_path / "t.fa", {"a": "ACGT"})), width=10)
    assert list(table.columns) == ["chrom", "start", "end"]
    assert len(table) == 0


def table_of(*rows: tuple[str, int, int]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["chrom", "start", "end"])


def test_a_gap_of_exactly_300_is_kept_and_299_is_not():
    """Paper: negatives lie at least 300 bp from any region; the window is [600, 1200)."""
    window = table_of(("chr1", 600, 1200))
    for place, kept in (
        (("chr1", 100, 300), True),  # 300 bp before
        (("chr1", 100, 301), False),  # 299 bp
        (("chr1", 1500, 1600), True),
        (("chr1", 1499, 1600), False),
        (("chr1", 700, 701), False),  # inside
        (("chr1", 0, 5000), False),  # around
        (("chr2", 600, 1200), True),
    ):
        assert away_from(window, [table_of(place)], gap=300).tolist() == [kept], place


def test_away_from_several_tables_keeps_the_order_of_rows():
    windows = table_of(("chr2", 0, 10), ("chr1", 100, 110), ("chr1", 0, 10), ("chr2", 50, 60))
    others = [table_of(("chr1", 5, 6)), table_of(("chr2", 60, 70), ("chr1", 0, 3))]
    assert away_from(windows, others).tolist() == [True, True, False, True]
    assert away_from(windows, others, gap=1).tolist() == [True, True, False, False]


@pytest.mark.parametrize("others", [[], [table_of()]])
def test_with_nothing_to_avoid_all_are_kept(others):
    assert away_from(table_of(("chr1", 0, 10)), others, gap=300).tolist() == [True]
    assert away_from(table_of(), [table_of(("chr1", 0, 10))]).tolist() == []


def test_a_window_with_contradictory_labels_is_refused_and_a_repeated_one_used_once(tmp_path: Path) -> None:
    genome = Genome(write_fasta(tmp_path / "g.fa", {"chr1": "ACGT" * 1_000}))
    rows = ["chr1:0-600,open", "chr1:600-1200,closed", "chr1:1200-1800,open"]
    first = write_lines(tmp_path, "a.csv", *rows)
    again = write_lines(tmp_path, "b.csv", rows[0], "chr1:1800-2400,closed")
    windows, report = load_windows(genome, [first, again], positive="open")
    assert windows.table["start"].tolist() == [0, 600, 1200, 1800]
    assert windows.targets[:, 0].tolist() == [1, 0, 1, 0]
    assert "1 windows occur again with the same target: used once" in report
    other = write_lines(tmp_path, "c.csv", "chr1:600-1200,open")
    with pytest.raises(
        ChromTransferError, match=r"1 windows have contradictory labels.*chr1:600 is closed and open"
    ):
        load_windows(genome, [first, other], positive="open")


def test_a_training_set_of_one_class_is_refused(tmp_path: Path) -> None:
    genome = Genome(write_fasta(tmp_path / "g.fa", dict.fromkeys(("chr1", "chr2", "chr4"), "ACGT" * 1000)))
    rows = ["chr2:0-600,open", "chr1:0-600,closed", "chr4:0-600,closed", "chr4:600-1200,closed"]
    windows, _ = load_windows(genome, write_lines(tmp_path, "a.csv", *rows), positive="open")
    with pytest.raises(ChromTransferError, match="one class only"):
        split_windows(windows, test_chromosomes=["chr2"], folds=2)


# --- flanks ----------------------------------------------------------------------------------------------


def test_flanks_surround_the_window_and_are_unknown_beyond_the_contig(genome, regions):
    """The first windows start at 0 and the contigs end 20 bp after the last ones."""
    plain, _ = load_windows(genome, regions, positive="A", width=WIDTH)
    wide, _ = load_windows(genome, regions, positive="A", width=WIDTH, flank=30)
    assert (wide.flank, wide.width, wide.n) == (30, WIDTH, 40)
    assert wide.codes.shape == (40, WIDTH + 60)
    for codes, (chrom, start, end) in zip(
        wide.codes, wide.table[["chrom", "start", "end"]].to_numpy(), strict=True
    ):
        around = "N" * 100 + genome.sequence(chrom, 0, 400) + "N" * 100
        assert "".join("ACGTN"[code] for code in codes) == around[70 + start : 130 + end]
    assert (wide.codes[0, :30] == 4).all()  # start 0
    assert (wide.codes[9, -10:] == 4).all()  # end 380 of 400
    assert (wide.codes[9, :-10] != 4).all()
    assert wide.centre().fingerprint() == plain.fingerprint() != wide.fingerprint()
    assert wide.centre().flank == 0


def test_a_flank_longer_than_the_contig(genome, tmp_path):
    one = write_lines(tmp_path, "one.csv", "chr1:100-120,A", "chr2:100-120,B")
    windows, _ = load_windows(genome, one, positive="A", width=WIDTH, flank=1_000)
    text = "".join("ACGTN"[code] for code in windows.codes[0])
    assert text == "N" * 900 + genome.sequence("chr1", 0, 400) + "N" * 720


def test_flanks_survive_selection_and_can_be_changed(genome, windows):
    wide = with_flank(windows, genome, 7)
    part = wide.take(np.array([5, 2]))
    assert part.flank == 7
    np.testing.assert_array_equal(part.centre().codes, windows.codes[[5, 2]])
    np.testing.assert_array_equal(with_flank(wide, genome, 3).codes, wide.codes[:, 4:-4])
    assert with_flank(wide, genome, 0).fingerprint() == windows.fingerprint()


def test_only_training_windows_keep_their_flanks(genome, windows):
    splits = split_windows(with_flank(windows, genome, 5), test_chromosomes=["chr2"])
    plain = split_windows(windows, test_chromosomes=["chr2"])
    assert [part.flank for part in splits[:3]] == [5, 0, 0]
    for part, wanted in zip(splits[:3], plain[:3], strict=True):
        assert part.centre().fingerprint() == wanted.fingerprint()


def test_batches_refuse_flanks(genome, windows):
    with pytest.raises(ChromTransferError, match=r"flanks of 5 bp; use windows\.centre\(\)"):
        next(batches(with_flank(windows, genome, 5), 8, torch.device("cpu")))


# --- folds and regions to hold out -----------------------------------------------------------------------


@pytest.mark.parametrize("fold_by", ["chromosome", "locus"])
def test_all_folds_are_the_folds_one_by_one(windows, fold_by):
    arguments = {"test_chromosomes": ["chr1"], "folds": 3, "fold_by": fold_by, "seed": 4}
    folds = all_folds(windows, **arguments)
    assert len(folds) == 3
    for fold, splits in enumerate(folds):
        alone = split_windows(windows, fold=fold, **arguments)
        assert [a.fingerprint() for a in splits[:3]] == [b.fingerprint() for b in alone[:3]]
    held = pd.concat([splits.validation.table for splits in folds])[["chrom", "start"]]
    assert len(held.drop_duplicates()) == len(held) == 30


def test_windows_that_overlap_a_region_to_hold_out_are_only_tested(genome, regions, tmp_path):
    """Windows are [40 i, 40 i + 20): the first region only touches one, the second overlaps two by one base."""
    away = write_lines(tmp_path, "away.bed", "chr1\t20\t40", "chr3\t59\t81", "chr2\t0\t400")
    windows, report = load_windows(genome, regions, positive="A", width=WIDTH, holdout=away)
    assert f"holdout: {away} (bed): 3 rows read, 3 kept" in report
    blocked = windows.table[windows.table["held_out"]][["chrom", "start"]]
    wanted = [("chr2", 40 * i) for i in range(10)] + [("chr3", 40), ("chr3", 80)]
    assert list(blocked.itertuples(index=False, name=None)) == wanted
    for splits in all_folds(windows, test_chromosomes=["chr2"], report="r"):
        used = pd.concat([splits.train.table, splits.validation.table])
        assert len(used) == 28
        assert not used["held_out"].any()
        assert splits.test.n == 10
        assert splits.report == (
            "r\nholdout: 2 of 30 windows overlap these regions and are neither trained nor validated on"
        )


def test_a_short_region_holds_out_the_window_it_would_become(genome, regions, tmp_path):
    """chr1:25-27 becomes the window [16, 36), which overlaps [0, 20) but not [40, 60)."""
    short = write_lines(tmp_path, "short.bed", "chr1\t25\t27")
    windows, _ = load_windows(genome, regions, positive="A", width=WIDTH, holdout=[short])
    assert windows.table.index[windows.table["held_out"]].tolist() == [0]
    # As a peak its summit may be at its first base: [15, 35), or its last: [16, 36).
    peak = write_lines(tmp_path, "p.narrowPeak", "chr1\t25\t30\tp\t0\t.\t1\t1\t1\t0")
    windows, _ = load_windows(genome, regions, positive="A", width=WIDTH, holdout=peak)
    assert windows.table.index[windows.table["held_out"]].tolist() == [0]


def test_holding_out_everything_or_the_regions_of_another_genome(genome, regions, tmp_path):
    rows = [f"chr{c}\t0\t400" for c in (1, 3, 4)]
    windows, _ = load_windows(
        genome, regions, positive="A", width=WIDTH, holdout=write_lines(tmp_path, "a.bed", *rows)
    )
    with pytest.raises(ChromTransferError, match=r"all 30 windows outside .* overlap a region of `holdout`"):
        split_windows(windows, test_chromosomes=["chr2"])
    other = write_lines(tmp_path, "b.bed", "1\t0\t400")
    with pytest.raises(ChromTransferError, match="prefix with chr"):
        load_windows(genome, regions, positive="A", width=WIDTH, holdout=other)
