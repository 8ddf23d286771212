"""`chromtransfer dataset build` on a tiny genome: what it holds, and laws it must keep."""

from __future__ import annotations

import hashlib
import shutil

import numpy as np
import pandas as pd
import pybigtools
import pytest
from click.testing import CliRunner
from kipoi_cases import digests
from preparation_cases import (
    LINES,
    SIZES,
    build,
    config_of,
    funnel,
    peak_lines,
    refusal,
    signal_rows,
    table,
    write_bigwig,
    write_config,
    write_inputs,
)

from chromtransfer_plugin.cli import main
from chromtransfer_plugin.configs_folder import configs_folder
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.plots import dataset_qc
from chromtransfer_plugin.preparation.calls import call_regions
from chromtransfer_plugin.preparation.config import DatasetConfig
from chromtransfer_plugin.preparation.ledger import Ledger
from chromtransfer_plugin.preparation.run import build_dataset
from chromtransfer_plugin.regions import read_regions
from chromtransfer_plugin.tiles import away_from, genome_tiles

PLACE = ["chrom", "start", "end"]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Inputs, the regions as they were made, and the data set built of them."""
    folder = tmp_path_factory.mktemp("world")
    regions = write_inputs(folder)
    return folder, regions, build(folder)


@pytest.fixture
def inputs(world, tmp_path):
    return shutil.copytree(world[0], tmp_path / "inputs", ignore=shutil.ignore_patterns("out*"))


def ids(part: pd.DataFrame) -> set[tuple]:
    return set(map(tuple, part[PLACE].to_numpy().tolist()))


def test_calls_find_what_the_signal_was_made_of(world):
    folder, regions, manifest = world
    found = table(folder / "out")
    assert len(found) == len(regions)
    middle = (regions["start"] + regions["end"]) // 2
    assert found["start"].tolist() == (middle - 300).tolist()
    assert (found["end"] - found["start"]).unique().tolist() == [600]
    assert found["region_start"].tolist() == regions["start"].tolist()
    assert found["name"].tolist() == regions["name"].tolist()
    for line in LINES:
        assert found[f"open:{line}"].tolist() == regions["open_in"].str.contains(line).tolist()
        for replicate in (1, 2):
            signal = found[f"signal:{line}:{replicate}"].to_numpy(float)
            some = signal > 0
            logs = np.log10(signal[some])
            np.testing.assert_allclose(
                found[f"z:{line}:{replicate}"][some], (logs - logs.mean()) / logs.std(), rtol=1e-4, atol=1e-5
            )
            assert (found[f"z:{line}:{replicate}"][~some] == -10).all()
    assert (found["n_open"] == regions["open_in"].str.len()).all()
    names = {"": "background", "AB": "shared"}
    assert found["status"].tolist() == [names.get(kind, kind) for kind in regions["open_in"]]
    counts = funnel(manifest, "calls")
    assert counts["open in more than one line"] == (regions["open_in"] == "AB").sum()
    assert counts["open in no line (background)"] == (regions["open_in"] == "").sum()


def test_sets_of_the_lines(world):
    folder, regions, manifest = world
    everything = table(folder / "out")
    for line in LINES:
        found = table(folder / "out", line)
        n = int((regions["open_in"] == line).sum())
        counts = found["label"].value_counts().to_dict()
        assert counts == {line: n, f"{line}_NEG": 3 * n}
        assert ids(found[found["label"] == line]) == ids(everything[everything["status"] == line])
        negatives = found[found["label"] != line]
        assert not negatives["status"].isin([line, "shared"]).any()
        n_others = int((negatives["status"] != "background").sum())
        assert n_others == round(0.025 * 3 * n) > 0
        assert not found.duplicated(PLACE).any()
        assert list(funnel(manifest, line).values()) == [
            int(regions["open_in"].str.contains(line).sum()),
            n,
            n_others,
            3 * n - n_others,
        ]


def test_bed_is_what_training_reads(world):
    folder, _, manifest = world
    for name in (*LINES, "pretraining"):
        wanted = table(folder / "out", name)
        read = read_regions(folder / "out" / name / "regions.bed").table
        assert read["label"].tolist() == wanted["label"].tolist()
        assert read[PLACE].to_numpy().tolist() == wanted[PLACE].to_numpy().tolist()
        path = folder / "out" / name / "regions.bed"
        assert manifest.files[f"{name}/regions.bed"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_pretraining_set_leaves_out_what_is_open_in_a_line(world):
    folder, regions, manifest = world
    found = table(folder / "out", "pretraining")
    opened = found[found["label"] == "open"]
    everything = table(folder / "out")
    assert ids(opened) == ids(everything[everything["n_open"] == 0])
    closed = found[found["label"] == "closed"]
    tiles = genome_tiles(Genome(folder / "genome.fa"))
    blacklist = pd.DataFrame({"chrom": ["chr1"], "start": [0], "end": [1000]})
    far = tiles[away_from(tiles, [blacklist]) & away_from(tiles, [regions], 300)]
    assert ids(closed) <= ids(far)
    assert list(funnel(manifest, "pre-training").values()) == [
        len(opened),
        len(tiles),
        int(away_from(tiles, [blacklist]).sum()),
        len(far),
        len(opened),
        len(closed),
    ]
    assert len(closed) == min(len(opened), len(far))


def test_distance_of_tiles_is_kept_to_the_base(inputs, world):
    tiles = genome_tiles(Genome(world[0] / "genome.fa"))
    counts = {}
    for distance in (300, 301):
        manifest = build(inputs, pretraining={"distance": distance})
        step = f"tiles at least {distance} bp from every region"
        counts[distance] = funnel(manifest, "pre-training")[step]
        assert counts[distance] == away_from(tiles, [world[1]], distance).sum()
    assert counts[300] > counts[301]


def test_a_window_has_one_fold_in_all_tables(world):
    folder, _, manifest = world
    tables = {name: table(folder / "out", name) for name in (*LINES, "pretraining")}
    folds = pd.concat(tables.values()).groupby(PLACE)[["split", "fold"]].nunique()
    assert (folds == 1).all().all()
    assert len(folds) < sum(map(len, tables.values()))  # some windows are in several
    for name, part in tables.items():
        assert ((part["chrom"] == "chr2") == (part["split"] == "test")).all()
        assert ((part["fold"] == -1) == (part["split"] == "test")).all()
        assert part[part["fold"] >= 0].groupby("chrom")["fold"].nunique().eq(1).all()
        counts = {
            "test" if fold < 0 else f"train fold {fold}": n for fold, n in part["fold"].value_counts().items()
        }
        assert manifest.splits[name] == counts


def test_same_files_and_seed_same_bytes_whatever_the_order_of_rows(inputs):
    build(inputs, "one")
    rows = (inputs / "rdhs.bed").read_text().splitlines(keepends=True)
    order = np.random.default_rng(1).permutation(len(rows))
    (inputs / "rdhs.bed").write_text("".join(rows[i] for i in order))
    build(inputs, "two")
    one, two = digests(inputs / "one"), digests(inputs / "two")
    differing = {name for name in one if one[name] != two[name]}
    assert differing == {"manifest.json"}  # which holds the hash of the file of regions
    (inputs / "rdhs.bed").write_text("".join(rows))
    build(inputs, "two")
    assert digests(inputs / "two") == one


def test_another_seed_changes_only_what_is_drawn(inputs):
    first, second = build(inputs, "one"), build(inputs, "two", seed=2)
    assert first.funnel == second.funnel
    assert (inputs / "one/regions.parquet").read_bytes() == (inputs / "two/regions.parquet").read_bytes()
    for line in LINES:
        one, two = table(inputs / "one", line), table(inputs / "two", line)
        assert ids(one[one["label"] == line]) == ids(two[two["label"] == line])
        assert ids(one) != ids(two)


@pytest.mark.parametrize(("ratio", "share"), [(1.5, 0.0), (0.5, 1.0), (2.0, 0.3)])
def test_ratio_and_share_are_exact(inputs, ratio, share):
    build(inputs, negatives={"ratio": ratio, "from_other_lines": share, "universal": 4}, pretraining=None)
    universal = []
    for line in LINES:
        found = table(inputs / "out", line)
        counts = found["label"].value_counts()
        n = counts[line]
        assert len(found) - n == round(ratio * n)
        assert counts["Negative"] == 4
        assert not found.duplicated(PLACE).any()
        drawn = found[found["label"] == f"{line}_NEG"]
        assert (drawn["status"] != "background").sum() == round(share * (round(ratio * n) - 4))
        universal.append(ids(found[found["label"] == "Negative"]))
    assert universal[0] == universal[1] == universal[2]
    assert not (inputs / "out" / "pretraining").exists()


def test_a_line_may_have_its_own_ratio(inputs):
    lines = config_of()["lines"]
    lines["A"]["ratio"] = 1
    build(inputs, lines=lines)
    ratios = [
        (lambda labels: (labels != line).sum() / (labels == line).sum())(table(inputs / "out", line)["label"])
        for line in LINES
    ]
    assert ratios == [1, 3, 3]


def test_peaks_give_the_same_calls_as_the_signal_they_are_of(inputs, world):
    build(inputs, lines=peak_lines())
    found, wanted = table(inputs / "out"), table(world[0] / "out")
    assert found["status"].tolist() == wanted["status"].tolist()
    assert set(found["bases:A:1"]) == {0, 200}


def test_peaks_alone_give_regions_too(inputs, world):
    manifest = build(
        inputs,
        regions=None,
        lines=peak_lines(),
        negatives={"ratio": 0.5, "from_other_lines": 1},
        pretraining=None,
    )
    found, wanted = table(inputs / "out"), table(world[0] / "out")
    assert ids(found) == ids(wanted[wanted["n_open"] > 0])
    assert funnel(manifest, "regions")["clusters of overlapping peaks"] == (wanted["n_open"] > 0).sum()


def test_sorting_and_uniting_peaks_is_reported(inputs):
    rows = (inputs / "A.bed").read_text().splitlines()
    chrom, start, end = rows[0].split("\t")
    (inputs / "A.bed").write_text(
        "\n".join([*reversed(rows), f"{chrom}\t{int(start) + 20}\t{int(end) + 9}", "chr1\tx\t5"])
    )
    plain = build(inputs, lines=peak_lines(A={"peaks": "A.bed"}))
    assert any("A.bed: is not sorted" in remark for remark in plain.remarks)
    assert any("A.bed: 1 peaks overlap" in remark for remark in plain.remarks)
    assert funnel(plain, "peaks")["A.bed: of them overlapping an earlier one"] == 1
    dropped = (inputs / "out" / "dropped.tsv").read_text().splitlines()
    assert dropped[1:] == [f"A.bed\t{len(rows) + 2}\tstart or end is not a whole number\tchr1 x 5"]


def test_min_overlap_is_in_bases(inputs):
    for least, opened in ((200, True), (201, False)):
        if opened:
            manifest = build(inputs, lines=peak_lines(), calls={"min_overlap": least, "over": "window"})
            assert funnel(manifest, "calls")["open in A"] > 0
        else:
            shutil.rmtree(inputs / "out")
            message = refusal(inputs, lines=peak_lines(), calls={"min_overlap": least, "over": "window"})
            assert message.startswith("A: has no positives: none of")
    # Of the region of 200 bp itself, no more than all can be asked for.
    manifest = build(inputs, lines=peak_lines(), calls={"min_overlap": 500})
    assert funnel(manifest, "calls")["open in A"] > 0


@pytest.mark.parametrize("statistic", ["max", "sum"])
def test_statistic_over_the_region_itself(inputs, statistic):
    build(inputs, calls={"statistic": statistic, "over": "region"})
    found = table(inputs / "out")
    with pybigtools.open(str(inputs / "A.1.bw")) as track:
        for row in found.rename(columns={"signal:A:1": "signal"}).iloc[::17].itertuples():
            values = track.values(row.chrom, row.region_start, row.region_end, fillna=0.0)
            wanted = values.max() if statistic == "max" else values.sum()
            assert row.signal == pytest.approx(wanted, rel=1e-6)


def test_threshold_is_strict_unless_told(inputs):
    """Of two heights, as often, the z-scores are exactly -1 and 1."""
    heights = [10.0, 10.0, 1.0, 1.0]
    rows = [("chr1", 1000 * i, 1000 * i + 600, height) for i, height in enumerate(heights)]
    write_bigwig(inputs / "two.bw", rows)
    regions = pd.DataFrame([row[:3] for row in rows], columns=PLACE)
    regions = regions.assign(region_start=regions["start"], region_end=regions["end"])
    regions = regions.assign(chrom=pd.Categorical(regions["chrom"], categories=list(SIZES)))
    opened = {}
    for strict in (True, False):
        config = config_of(lines={"A": {"signal": "two.bw"}}, calls={"threshold": 1.0, "strict": strict})
        called = call_regions(DatasetConfig.model_validate(config), regions, {}, Ledger(inputs))
        opened[strict] = called.open[:, 0].tolist()
    assert opened == {True: [False] * 4, False: [True, True, False, False]}


def test_either_replicate_is_enough(inputs, world):
    regions = world[1]
    first = regions.index[regions["open_in"] == "A"][0]
    changed = regions.copy()
    changed.loc[first, "open_in"] = ""
    write_bigwig(inputs / "A.2.bw", signal_rows(changed, "A", 2))
    build(inputs)
    found = table(inputs / "out")
    assert found["z:A:2"][first] < 1.64 < found["z:A:1"][first]
    assert found["status"][first] == "A"


def test_duplicate_regions_are_used_once(inputs, world):
    rows = (inputs / "rdhs.bed").read_text().splitlines()
    chrom, start, end, _ = rows[5].split("\t")
    wider = f"{chrom}\t{int(start) - 10}\t{int(end) + 10}\tlonger"
    (inputs / "rdhs.bed").write_text("\n".join([wider, *rows, rows[0]]) + "\n")
    manifest = build(inputs)
    counts = funnel(manifest, "regions")
    assert counts["rows read"] == len(rows) + 2
    assert counts["distinct windows"] == len(rows)
    assert table(inputs / "out")["name"][5] == "longer"  # the first by place of the two


def test_a_test_set_of_one_class_is_noted(inputs, world):
    positive = ~world[1]["chrom"].isin(["chr4"]) | (world[1]["open_in"] == "")
    assert not positive.all()
    rows = (inputs / "rdhs.bed").read_text().splitlines()
    (inputs / "rdhs.bed").write_text("\n".join(row for row, kept in zip(rows, positive, strict=True) if kept))
    lines = {"A": config_of()["lines"]["A"]}
    manifest = build(inputs, lines=lines, split={"test": ["chr4"]})
    assert manifest.remarks == [
        "A: the test set holds negatives alone, so no AUROC can be had there",
        "test chromosomes: chr4; `chromtransfer train` tests on chr2, chr3 unless `--test-chromosome` names others",
    ]


def test_chromosomes_limit_everything(inputs):
    manifest = build(inputs, chromosomes=["chr1", "chr3", "chr4"], split={"test": ["chr3"], "folds": 2})
    assert set(table(inputs / "out")["chrom"]) == {"chr1", "chr3", "chr4"}
    assert set(table(inputs / "out", "pretraining")["chrom"]) == {"chr1", "chr3", "chr4"}
    counts = funnel(manifest, "regions")
    assert counts["rows read"] > counts["on the chosen chromosomes"] == counts["distinct windows"]


def test_without_a_genome_names_and_lengths_are_enough(inputs, world):
    manifest = build(inputs, genome=None, contigs="chrom.sizes")
    assert table(inputs / "out").equals(table(world[0] / "out"))
    assert "no base was looked at" in manifest.remarks[0]
    assert funnel(manifest, "pre-training")["tiles"] == sum(size // 600 for size in SIZES.values())


def test_an_earlier_data_set_is_replaced_as_a_whole_and_nothing_else_is(inputs):
    build(inputs)
    build(inputs, lines={line: config_of()["lines"][line] for line in "AB"})
    assert sorted(path.name for path in (inputs / "out").iterdir()) == [
        "A", "B", "dropped.tsv", "manifest.json", "pretraining", "qc.png", "regions.parquet",
    ]  # fmt: skip
    (inputs / "out" / "notes.txt").write_text("mine")
    with pytest.raises(ChromTransferError, match=r"holds notes.txt beside an earlier result"):
        build(inputs)
    assert (inputs / "out" / "notes.txt").read_text() == "mine"
    (inputs / "out" / "notes.txt").rename(inputs / "out" / "A" / "notes.txt")
    with pytest.raises(ChromTransferError, match=r"holds A beside an earlier result"):
        build(inputs)
    assert (inputs / "out" / "A" / "notes.txt").read_text() == "mine"


def test_command_prints_the_funnel_and_nothing_when_quiet(inputs, monkeypatch):
    monkeypatch.setattr(dataset_qc, "dataset_figure", lambda path, *_: path.write_bytes(b""))
    command = ["dataset", "build", str(write_config(inputs)), "--out", str(inputs / "cli")]
    loud, quiet = CliRunner().invoke(main, command), CliRunner().invoke(main, [*command, "--quiet"])
    assert loud.exit_code == quiet.exit_code == 0, loud.output
    assert "  open in no other line: positives" in loud.output
    assert quiet.output == ""


def test_the_packaged_example_runs(tmp_path):
    """Its signal and peaks were made so that both lines have 60 positives among 420 regions."""
    copied = shutil.copytree(configs_folder(), tmp_path / "configs")
    manifest = build_dataset(copied / "dataset" / "example.yml", tmp_path / "out")
    for line in ("K562", "HEPG2"):
        published = read_regions(copied / "example" / f"{line}.csv").table
        built = table(tmp_path / "out", line)
        assert ids(built[built["label"] == line]) == ids(published[published["label"] == line])
        assert (built["label"] == f"{line}_NEG").sum() == 120
    assert (tmp_path / "out" / "qc.png").read_bytes().startswith(b"\x89PNG")
    assert set(manifest.files) == {
        *(
            f"{name}/regions.{kind}"
            for name in ("K562", "HEPG2", "pretraining")
            for kind in ("bed", "parquet")
        ),
        *("regions.parquet", "dropped.tsv", "qc.png"),
    }
