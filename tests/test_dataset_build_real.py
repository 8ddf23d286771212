"""`chromtransfer dataset build` on real signal, and from a simulated genome to a trained model."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from genome_helpers import real_data_folder
from preparation_cases import write_bigwig

from chromtransfer_plugin.cli import main
from chromtransfer_plugin.constants import CELL_LINES
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.metrics import auroc
from chromtransfer_plugin.preparation.run import build_dataset
from chromtransfer_plugin.regions import read_regions, region_ids
from chromtransfer_plugin.simulate import simulate

WITH_SIGNAL = ("K562", "GM12878", "MCF7")


@pytest.mark.real_data
@pytest.mark.parametrize("statistic", ["mean", "max"])
def test_z_scores_of_real_signal_tell_the_published_positives(tmp_path, statistic, monkeypatch):
    """Chromosome 22: the six lines' published windows as regions, signal of three lines."""
    data = real_data_folder()
    monkeypatch.setenv("DATA", str(data))
    files = [f'"${{DATA}}/regions/{part}/{line}.csv"' for line in CELL_LINES for part in ("train", "test")]
    lines = [f'  {line}: {{signal: "${{DATA}}/signal/acc.{line}.chr22.bw"}}' for line in WITH_SIGNAL]
    (tmp_path / "dataset.yml").write_text(
        f'genome: "${{DATA}}/hg38_partial.fa.gz"\nregions: [{", ".join(files)}]\nchromosomes: [chr22]\n'
        f"lines:\n" + "\n".join(lines) + f"\ncalls: {{statistic: {statistic}}}\n"
        'pretraining: {blacklist: "${DATA}/blacklist/hg38-blacklist.v2.bed"}\nsplit: {test: [], by: locus}\n'
    )
    build_dataset(tmp_path / "dataset.yml", tmp_path / "out")
    measured = pd.read_parquet(tmp_path / "out" / "regions.parquet")
    measured.index = pd.Index(region_ids(measured))
    for line in WITH_SIGNAL:
        published = pd.concat(
            [read_regions(data / "regions" / part / f"{line}.csv").table for part in ("train", "test")]
        )
        published = published[published["chrom"] == "chr22"]
        z = measured[f"z:{line}:1"].loc[region_ids(published)].to_numpy(float)
        truth = (published["label"] == line).to_numpy(float)
        assert auroc(truth, z) >= (0.99 if statistic == "mean" else 0.95), line
        # What is called open is published as open: the threshold of 1.64 is a strict one here.
        opened = measured[f"open:{line}"].loc[region_ids(published)].to_numpy(bool)
        assert truth[opened].mean() > 0.9


@pytest.mark.slow
def test_from_a_simulated_genome_to_a_trained_model(tmp_path):
    """Signal is made for the simulated windows; the lines' motifs tell open from closed ones."""
    data = simulate(tmp_path / "sim", n_open=300, n_closed=300, n_line_positives=80)
    rng = np.random.default_rng(0)
    windows = pd.concat([read_regions(path).table for path in (data.pretrain, *data.lines.values())])
    windows = windows[~windows["label"].isin(["closed", "Negative"])]
    positive = windows["label"].isin(
        list(data.lines)
    )  # one line's positive may be another's negative: keep the former
    regions = pd.concat([windows[positive], windows[~positive]]).drop_duplicates(["chrom", "start"])
    contigs = Genome(data.genome).contigs
    sizes = {name: size for name, size in contigs.items() if name in set(regions["chrom"])}
    rows = "".join(f"{r.chrom}\t{r.start}\t{r.end}\n" for r in regions.itertuples())
    (tmp_path / "regions.bed").write_text(rows)
    for line in data.lines:
        height = np.where(regions["label"] == line, 50.0, 1.0) * rng.uniform(0.8, 1.2, len(regions))
        places = zip(regions["chrom"], regions["start"], regions["end"], height, strict=True)
        write_bigwig(tmp_path / f"{line}.bw", [(c, s, e, float(h)) for c, s, e, h in places], sizes)
    lines = "\n".join(f"  {line}: {{signal: {line}.bw}}" for line in data.lines)
    (tmp_path / "dataset.yml").write_text(
        f"genome: sim/genome.fa\nregions: regions.bed\nlines:\n{lines}\npretraining: {{ratio: 0.5}}\n"
        "split: {test: [chr2], folds: 3}\n"
    )
    steps = [
        ["dataset", "build", str(tmp_path / "dataset.yml"), "--out", str(tmp_path / "set"), "--quiet"],
        [
            "train", "--genome", str(data.genome), "--regions", str(tmp_path / "set/K562/regions.bed"),
            "--positive", "K562", "--out", str(tmp_path / "model"), "--test-chromosome", "chr2",
            "--set", "max_epochs=1", "--network", "width=0.125", "--device", "cpu",
        ],
        [
            "train", "--genome", str(data.genome), "--regions", str(tmp_path / "set/pretraining/regions.bed"),
            "--positive", "open", "--out", str(tmp_path / "trunk"), "--test-chromosome", "chr2",
            "--protocol", "pretrain", "--set", "max_epochs=1", "--network", "width=0.125", "--device", "cpu",
        ],
    ]  # fmt: skip
    for step in steps:
        result = CliRunner().invoke(main, step)
        assert result.exit_code == 0, result.output
    found = pd.read_parquet(tmp_path / "set" / "K562" / "regions.parquet")
    assert (found["label"] == "K562").sum() == 80
    assert "validation loss" in result.output
