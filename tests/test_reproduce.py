"""The real-data road on a made-up data folder, and its first step on the real one."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from genome_helpers import real_data_folder

from chromtransfer_plugin.constants import CELL_LINES
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.metrics import auroc
from chromtransfer_plugin.regions import read_regions
from chromtransfer_plugin.reproduce import (
    BLACKLIST,
    GAP,
    GENOME,
    check_data,
    markdown,
    pretraining_regions,
    score,
    stage,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder: one 60 kb contig, two windows per line, one blacklisted stretch."""
    rng = np.random.default_rng(0)
    bases = "".join(rng.choice(list("ACGT"), 60_000))
    bases = bases[:30_000] + "N" * 600 + bases[30_600:]
    import pysam

    (tmp_path / "plain.fa").write_text(f">chr1\n{bases}\n")
    pysam.tabix_compress(str(tmp_path / "plain.fa"), str(tmp_path / GENOME))
    (tmp_path / "blacklist").mkdir()
    (tmp_path / BLACKLIST).write_text("chr1\t40000\t40010\tbad\n")
    for part in ("train", "test"):
        (tmp_path / "regions" / part).mkdir(parents=True)
        for i, line in enumerate(CELL_LINES):
            at = 3_000 + 2_000 * i + (1_000 if part == "test" else 0)
            rows = [f"chr1:{at}-{at + 600},{line}", "chr1:20000-20600,Negative"]
            if line == "A549":  # a positive of GM12878 is a negative here: not a pre-training positive
                rows.append("chr1:5000-5600,A549_NEG")
            (tmp_path / "regions" / part / f"{line}.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def test_pretraining_set(folder: Path) -> None:
    out = folder / "pretrain.csv"
    funnel = pretraining_regions(folder, Genome(folder / GENOME), out, seed=1)
    table = read_regions(out).table
    opened, closed = table[table["label"] == "open"], table[table["label"] == "closed"]
    assert [*zip(opened["start"], opened["end"], strict=True)] == [
        (20_000, 20_600)
    ]  # positive in no line, once
    assert len(closed) == len(opened) == funnel["pre-training positives"] == 1
    assert funnel["distinct supplied windows"] == 13
    assert funnel["tiles without N"] == 99  # 100 tiles, one of N
    assert funnel["tiles off the blacklist"] == 98
    supplied = [3_000 + 1_000 * i for i in range(12)] + [20_000]
    far = [
        t for t in range(0, 60_000, 600)
        if t != 30_000 and t != 39_600 and all(t + 600 + GAP <= s or t >= s + 600 + GAP for s in supplied)
    ]  # fmt: skip
    assert funnel[f"tiles at least {GAP} bp from every supplied window"] == len(far)
    assert int(closed["start"].iloc[0]) in far


def test_missing_files_are_named(folder: Path) -> None:
    (folder / "regions" / "test" / "MCF7.csv").unlink()
    with pytest.raises(ChromTransferError, match=r"1 needed file\(s\) are missing.*MCF7\.csv"):
        check_data(folder, ["K562"])


def test_a_stage_of_other_inputs_is_never_taken_for_this_one(tmp_path: Path) -> None:
    yaml = tmp_path / "pretrain.yml"
    yaml.write_text("lr: 0.001")
    folder = tmp_path / "out" / "pretrain"
    commands = []

    def fake_run(program: str, *arguments: str, cwd: Path, log: Path, **environment: str) -> None:
        commands.append((program, *arguments))
        folder.mkdir(parents=True, exist_ok=True)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chromtransfer_plugin.reproduce.run", fake_run)
        stage(yaml, folder, "data", LINE="K562")
        stage(yaml, folder, "data", LINE="K562")
        assert commands == [("selene_sdk", str(yaml))]  # the second time it was kept
        for digest, line in (("other data", "K562"), ("data", "HEPG2")):
            with pytest.raises(ChromTransferError, match="other settings, data or seed"):
                stage(yaml, folder, digest, LINE=line)
        yaml.write_text("lr: 0.01")
        with pytest.raises(ChromTransferError, match="other settings, data or seed"):
            stage(yaml, folder, "data", LINE="K562")


def test_published_scores_must_cover_the_test_windows(folder: Path) -> None:
    scores = folder / "paper_scores" / "K562.csv"
    scores.parent.mkdir()
    scores.write_text("region,label,score\nchr1:20000-20600,0,0.5\n")
    with pytest.raises(ChromTransferError, match=r"no score for 1 of the test windows, e\.g\. chr1:"):
        check_data(folder, ["K562"])


def test_score_has_the_metrics_and_their_intervals() -> None:
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 2, 80)
    predicted = np.clip(0.5 * truth + 0.7 * rng.random(80), 0, 1)
    result = score("K562", "m", truth, predicted)
    assert (result.n, result.positives) == (80, int(truth.sum()))
    assert result.auroc == pytest.approx(auroc(truth, predicted))
    assert result.auroc_interval[0] < result.auroc < result.auroc_interval[1]
    facts = {
        "funnel": {"supplied rows": 12_345},
        "histories": {
            "pretrain": {
                "epochs": 4,
                "best_epoch": 2,
                "best_validation_loss": 0.5,
                "sequences_per_second": 99.6,
            }
        },
        "seconds": {"pretrain": 90.0},
        "scores": [result],
        "auroc_gain_of_fine_tuning": {"K562": {"estimate": 0.05, "low": -0.01, "high": 0.1}},
        "device": "cpu",
        "versions": {"python": "3"},
    }
    text = markdown(facts)
    assert "| supplied rows | 12,345 |" in text
    assert "| pretrain | 4 (2) | 0.500 | 100 | 1.5 min |" in text
    assert "| K562 | 0.050 [-0.010, 0.100] |" in text
    assert f"| {result.auroc:.3f} [{result.auroc_interval[0]:.3f}, " in text


@pytest.mark.real_data
def test_real_pretraining_set(tmp_path: Path) -> None:
    data = real_data_folder()
    genome = Genome(data / GENOME, cache_dir=tmp_path)
    funnel = pretraining_regions(data, genome, tmp_path / "pretrain.csv", seed=1)
    assert funnel["supplied rows"] == 17_644
    assert funnel["distinct supplied windows"] == 15_195
    assert funnel["pre-training positives"] == funnel["pre-training negatives (sampled)"] == 7_491
    table = read_regions(tmp_path / "pretrain.csv", genome=genome).table
    positives = pd.concat(
        read_regions(data / "regions" / "train" / f"{line}.csv").table.query("label == @line")
        for line in CELL_LINES
    )
    opened = table[table["label"] == "open"].merge(positives, on=["chrom", "start", "end"])
    assert opened.empty
