from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from genome_helpers import write_fasta, write_lines

from chromtransfer_plugin.cli import main
from chromtransfer_plugin.dataset import Windows, all_folds, split_windows
from chromtransfer_plugin.dataset_split import split_regions
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.leaks import LeakReport
from chromtransfer_plugin.regions import read_regions
from chromtransfer_plugin.splits import by_chromosome, homology_groups, k_folds, loci, validation_mask
from chromtransfer_plugin.train import TrainingData


def spread(n: int, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Random windows on five chromosomes, far from each other except each fifth, which overlaps the one before."""
    rng = np.random.default_rng(seed)
    start = np.arange(n) * 50_000
    start[4::5] = start[3::5][: len(start[4::5])] + 300
    chrom = np.array(["chr1", "chr2", "chr3", "chr4", "chr5"])[np.arange(n) // 5 % 5]
    return pd.DataFrame({"chrom": chrom, "start": start, "end": start + 600}), rng.integers(
        0, 4, (n, 600), dtype=np.uint8
    )


def test_groups_join_loci_and_sequence():
    table, codes = spread(30)
    codes[14] = 3 - codes[3][::-1]  # chr3 has a copy of chr1's window 3; 13 and 4 are the neighbours
    group = homology_groups(table, codes)
    assert group[13] == group[14] == group[3] == group[4]
    locus = loci(table)
    assert len(set(group.tolist())) == len(set(locus.tolist())) - 1
    # Numbered by the place of a group's first locus, so that the order of rows does not matter.
    order = np.random.default_rng(1).permutation(30)
    assert homology_groups(table.iloc[order], codes[order]).tolist() == group[order].tolist()


def test_copies_validate_together_and_every_window_once():
    table, codes = spread(200)
    copies = np.arange(0, 200, 10)
    codes[copies + 5] = codes[copies]
    fold = k_folds(table, 4, by="homology", codes=codes)
    assert (fold[copies] == fold[copies + 5]).all()
    assert (fold[3::5] == fold[4::5]).all()
    assert np.bincount(fold).tolist() == [50] * 4
    by_locus = k_folds(table, 4, by="locus")
    assert (by_locus[copies] != by_locus[copies + 5]).any()
    order = np.random.default_rng(1).permutation(200)
    again = k_folds(table.iloc[order], 4, by="homology", codes=codes[order])
    assert again.tolist() == fold[order].tolist()
    assert (k_folds(table, 4, by="homology", codes=codes, seed=5) != fold).any()
    mask = validation_mask(table, 0.2, by="homology", codes=codes)
    assert (mask[copies] == mask[copies + 5]).all()
    assert 30 <= mask.sum() <= 50


def test_homology_needs_sequences():
    table, codes = spread(10)
    with pytest.raises(ChromTransferError, match="give codes"):
        k_folds(table, 3, by="homology")
    with pytest.raises(ChromTransferError, match="10 windows have 9 sequences"):
        k_folds(table, 3, by="homology", codes=codes[:9])
    with pytest.raises(ChromTransferError, match="'chromosome', 'locus' or 'homology'"):
        k_folds(table, 3, by="random")  # type: ignore[arg-type]
    codes[:] = codes[0]
    with pytest.raises(ChromTransferError, match="there are 1"):
        k_folds(table, 3, by="homology", codes=codes)


def test_folds_of_training_by_homology():
    table, codes = spread(200)
    codes[100:150] = codes[:50]  # chr1 to chr5 in both: a chromosome-wise fold divides none of these, loci do
    flanked = np.pad(codes, ((0, 0), (8, 8)), constant_values=4)
    windows = Windows(
        flanked, (np.arange(200) % 2).astype(np.float32)[:, None], table.assign(label=""), flank=8
    )
    n_validated = 0
    for parts in all_folds(windows, test_chromosomes=["chr2"], fold_by="homology"):
        train, validation = (
            {row.tobytes() for row in part.centre().codes} for part in (parts.train, parts.validation)
        )
        assert not train & validation
        n_validated += parts.validation.n
    assert n_validated == 160
    locus = split_windows(windows, test_chromosomes=["chr2"], fold_by="locus")
    assert {row.tobytes() for row in locus.train.centre().codes} & {
        row.tobytes() for row in locus.validation.codes
    }


def test_the_papers_test_set():
    table = pd.DataFrame({"chrom": [f"chr{i}" for i in range(1, 23)], "start": 0, "end": 600})
    split = by_chromosome(table)
    assert table["chrom"][split == "test"].tolist() == ["chr2", "chr3"]
    assert (split == "train").sum() == 20


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Two lines' regions on five chromosomes; chr4's first window has a copy of chr2's, chr1's first two overlap."""
    rng = np.random.default_rng(0)
    contigs = {f"chr{i}": rng.choice(list("ACGT"), 400_000) for i in range(1, 6)}
    contigs["chr4"][1_000:1_600] = contigs["chr2"][1_000:1_600]
    genome = write_fasta(tmp_path / "genome.fa", {name: "".join(bases) for name, bases in contigs.items()})
    rows = [(chrom, start) for chrom in contigs for start in range(1_000, 380_000, 20_000)] + [
        ("chr1", 1_300)
    ]
    for line, labels in (("A", ("A", "A_NEG")), ("B", ("B", "B_NEG"))):
        text = [f"{chrom}:{start}-{start + 600},{labels[i % 2]}" for i, (chrom, start) in enumerate(rows)]
        write_lines(tmp_path, f"{line}.csv", *text)
    return genome, tmp_path / "A.csv", tmp_path / "B.csv"


def test_split_writes_what_train_reads(files, tmp_path):
    genome, *regions = files
    out = tmp_path / "split"
    result = split_regions(regions, out, genome, by="locus")
    parts = {
        part: read_regions(out / part / "A.csv", genome=Genome(genome)).table for part in ("train", "test")
    }
    assert set(parts["test"]["chrom"]) == {"chr2", "chr3"}
    assert len(parts["train"]) == 58
    folds = [read_regions(out / "folds" / str(fold) / "B.csv").table for fold in range(3)]
    assert sorted(len(fold) for fold in folds) == [19, 19, 20]
    assert set(pd.concat(folds)["start"]) == set(parts["train"]["start"])
    table = pd.read_csv(out / "split.tsv", sep="\t")
    pd.testing.assert_frame_equal(table, result.table, check_dtype=False)
    assert table.groupby(["chrom", "start"])["fold"].nunique().max() == 1
    assert table["label"].value_counts().to_dict() == {"A": 48, "A_NEG": 48, "B": 48, "B_NEG": 48}
    # chr4's copy of a test window is in training: a chromosome hold-out does not see it, the report does.
    assert (result.leaks.n_overlapping, result.leaks.n_leaking, result.leaks.n_leaking_one) == (0, 1, 1)
    assert result.leaks.worst[0] == ("chr2:1000-1600", 1.0, "chr4:1000-1600")
    assert "windows: train 58, test 38, dropped 0; folds by locus" in result.report
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    split_regions(regions, out, genome, by="locus")
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_split_by_homology_drops_what_is_like_a_test_window(files, tmp_path):
    genome, *regions = files
    result = split_regions(regions, tmp_path / "split", genome, by="homology")
    dropped = result.table[result.table["split"] == "dropped"]
    assert set(zip(dropped["chrom"], dropped["start"], strict=True)) == {("chr4", 1_000)}
    assert not result.leaks.leaks
    assert "dropped 1" in result.report
    groups = split_regions(regions, tmp_path / "split", genome, by="homology", test_share=0.3)
    side = groups.table.drop_duplicates(["chrom", "start"]).set_index(["chrom", "start"])["split"]
    assert side["chr2", 1_000] == side["chr4", 1_000]
    assert side["chr1", 1_000] == side["chr1", 1_300]
    assert 20 <= (side == "test").sum() <= 38
    assert not groups.leaks.leaks


def test_split_command_and_refusals(files, tmp_path):
    _, regions, _ = files
    run = CliRunner().invoke
    common = [str(regions), "--out", str(tmp_path / "split")]
    done = run(main, ["dataset", "split", *common, "--folds", "2"])
    assert done.exit_code == 0
    assert "no leak: of 38 test windows none is a training window" in done.output
    assert "sequences were not compared" in done.output
    for arguments, message in (
        (["--by", "homology"], "name the FASTA, --genome"),
        (["--test", "chr9"], "no region lies on chr9"),
        (["--folds", "9"], "9 folds need at least 9"),
        ([str(regions)], "two files are called A"),
        (["--test-share", "1.5"], "fraction is 1.5"),
        (["--test-share", "0.2", "--test", "chr2"], "--test, or --test-share, not both"),
    ):
        done = run(main, ["dataset", "split", *common, *arguments])
        assert done.exit_code == 1
        assert message in done.output
        assert (tmp_path / "split" / "split.tsv").exists()  # the earlier result
    done = run(main, ["dataset", "split", *common])
    assert done.exit_code == 0
    assert (tmp_path / "split" / "folds" / "2").exists()  # the earlier one had two folds, this has three
    (tmp_path / "split" / "train" / "model.safetensors").write_text("mine")
    done = run(main, ["dataset", "split", *common])
    assert "holds train beside an earlier result" in done.output
    assert (tmp_path / "split" / "train" / "model.safetensors").read_text() == "mine"


def test_leaks_command_tells_duplicates_and_fails_on_demand(files, tmp_path):
    genome, regions, _ = files
    lines = regions.read_text().splitlines()
    train = write_lines(tmp_path, "train.csv", *lines[:30])
    test = write_lines(tmp_path, "test.csv", *lines[25:40])
    arguments = [
        "dataset",
        "leaks",
        "--train",
        str(train),
        "--test",
        str(test),
        "--out",
        str(tmp_path / "leaks"),
    ]
    done = CliRunner().invoke(main, [*arguments, "--genome", str(genome)])
    assert done.exit_code == 0
    assert "LEAK: 5 of 15 test windows are training windows, 5 overlap one, 5 share 50%" in done.output
    assert (
        "In training and test: chr2:121000-121600, chr2:141000-141600, chr2:161000-161600 and 2 more."
        in done.output
    )
    record = LeakReport.model_validate_json((tmp_path / "leaks" / "leaks.json").read_text())
    assert (record.n_identical, record.n_train, record.n_test) == (5, 30, 15)
    done = CliRunner().invoke(main, [*arguments, "--fail"])
    assert done.exit_code == 1
    assert "training and test are not apart" in done.output
    assert "--holdout TEST" in done.output
    clean = write_lines(tmp_path, "clean.csv", *lines[60:70])
    arguments[5] = str(clean)
    assert CliRunner().invoke(main, [*arguments, "--fail"]).exit_code == 0


def test_training_takes_folds_by_homology(files, tmp_path):
    genome, regions, _ = files
    data = TrainingData(
        genome=genome, regions=[regions], positive=["A"], fold_by="homology", test_chromosomes=["chr3"]
    )
    splits, _, _ = data.splits(flank=4, seed=1, ensemble=True)
    for part in splits:
        names = [
            set(zip(x.table["chrom"], x.table["start"], strict=True)) for x in (part.train, part.validation)
        ]
        assert sum({("chr2", 1_000), ("chr4", 1_000)} <= name for name in names) == 1


def test_selene_sampler_folds_by_homology(files):
    from chromtransfer_plugin.selene.sampler import RegionSampler

    genome, regions, _ = files
    sampler = RegionSampler(
        str(genome), [str(regions)], positive="A", fold_by="homology", test_chromosomes=["chr3"]
    )
    part = sampler.split(0)
    names = [set(zip(x.table["chrom"], x.table["start"], strict=True)) for x in (part.train, part.validation)]
    assert sum({("chr2", 1_000), ("chr4", 1_000)} <= name for name in names) == 1
