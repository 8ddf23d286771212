"""``chromtransfer motifs scan``, ``compare`` and ``agree``."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result
from motif_cases import random_motifs, site_motif, write_meme
from motif_stores import make_store

from chromtransfer_plugin.cli import main

MOTIFS = {name: matrix for name, matrix in random_motifs().items() if len(matrix) < 20} | site_motif()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("motifs")
    make_store(path / "store").close()
    make_store(path / "ism", method="ism", sign=-1, noise=0.1).close()
    make_store(path / "other", method="ism", identity="genome two").close()
    make_store(path / "sequences", placed=False).close()
    write_meme(path / "motifs.meme", MOTIFS)
    (path / "empty.meme").write_text("")
    (path / "bad.meme").write_text((path / "motifs.meme").read_text().replace("0.97", "x.yz", 1))
    return path


def invoke(folder: Path, text: str) -> Result:
    words = [str(folder / word[1:]) if word.startswith("@") else word for word in text.split()]
    return CliRunner().invoke(main, ["motifs", *words])


LOOSE = "--motifs @motifs.meme --threshold 2e-3 --min-hits 25 --fdr 1e-4"
PLAIN = "--no-html --figures none"


def test_scan_then_compare(folder: Path, tmp_path: Path) -> None:
    done = invoke(folder, f"scan @store --motifs @motifs.meme --threshold 2e-3 --out {tmp_path}/hits.parquet")
    assert done.exit_code == 0, done.output
    hits = pd.read_parquet(tmp_path / "hits.parquet")
    assert f"{len(hits):,} sites of 6 motifs in 60 windows written to {tmp_path}/hits.parquet" in done.output
    outputs = []
    for name, extra in (("one", ""), ("two", f"--hits {tmp_path}/hits.parquet")):
        done = invoke(folder, f"compare @store --a A --b B {LOOSE} {extra} {PLAIN} --out {tmp_path}/{name}")
        assert done.exit_code == 0, done.output
        outputs.append((tmp_path / name / "enrichment.tsv").read_text())
    assert outputs[0] == outputs[1]
    record = json.loads((tmp_path / "two" / "comparison.json").read_text())
    first = next(line for line in done.stdout.splitlines() if "windows" in line)
    counts = record["motifs"]
    assert first == (
        f"60 windows, {len(hits):,} sites; {counts['tested']} of 6 motifs tested, {counts['significant']} significant "
        "(FDR < 0.0001)"
    )
    shown = done.output.split("highest D, A:\n")[1].splitlines()[1].split()
    table = pd.read_csv(tmp_path / "two" / "enrichment.tsv", sep="\t").set_index("motif")
    assert shown[:2] == ["site", f"{table.loc['site', 'A.D']:.3f}"]
    for end, best in (("highest", table["diff.D"].idxmax()), ("lowest", table["diff.D"].idxmin())):
        assert best in done.output.split(f"{end} D, A - B:\n")[1].splitlines()[1]
    assert str(tmp_path / "two" / "enrichment.tsv") in done.output
    assert not (tmp_path / "two" / "figures").exists()


def test_figures_and_page(folder: Path, tmp_path: Path) -> None:
    done = invoke(
        folder, f"compare @store --a A --b B {LOOSE} --figures png --motif site --quiet --out {tmp_path}/out"
    )
    assert done.exit_code == 0, done.output
    assert done.output == ""
    assert list((tmp_path / "out" / "figures").rglob("*.png"))
    assert "<html" in (tmp_path / "out" / "report.html").read_text()


def test_one_model_of_mutagenesis(folder: Path, tmp_path: Path) -> None:
    done = invoke(folder, f"compare @ism --a A {LOOSE} {PLAIN} --set first --off-by-one --out {tmp_path}/out")
    assert done.exit_code == 0, done.output
    assert "lowest D, A:\nmotif" in done.output.replace("  ", "").replace("\n ", "\n")
    record = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert (record["how"], record["sets"], record["off_by_one"], record["b"]) == (
        "min",
        ["first"],
        True,
        None,
    )


def test_agree(folder: Path, tmp_path: Path) -> None:
    done = invoke(
        folder,
        f"agree @store @ism --model A --motifs @motifs.meme --threshold 2e-3 --min-hits 25 --out {tmp_path}/table",
    )
    assert done.exit_code == 0, done.output
    table = pd.read_csv(tmp_path / "table.tsv", sep="\t")
    assert (table["spearman"] < -0.9).all()
    assert (
        f"all {table['n'][0]:,} sites: Pearson {table['pearson'][0]:.3f}, Spearman {table['spearman'][0]:.3f}"
        in done.output
    )
    assert f"{len(table) - 1} of {len(table) - 1} motifs have a negative correlation" in done.output


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("compare @nowhere --a A --out @x", "is no attribution store"),
        (f"compare @store --a C {LOOSE} --out @x", "has no model 'C', but A, B"),
        (f"compare @ism --a C {LOOSE} --out @x", "has no model 'C', but A, B"),
        (f"compare @sequences --a A {LOOSE} --out @x", "'w00' has no place in a genome"),
        (
            f"compare @store --a A {LOOSE} --motif sitte --out @x",
            "'sitte' is none of the 6 motifs; similar: site",
        ),
        ("compare @store --a A --motifs @empty.meme --out @x", "empty.meme: holds no motif in MEME format"),
        ("compare @store --a A --motifs @bad.meme --out @x", "of motif 'f': expected four probabilities"),
        ("compare @store --a A --motifs JASPAR1999 --out @x", "has no release 'JASPAR1999'"),
        (f"compare @store --a A {LOOSE} --min-hits 9999 --out @x", "no motif has 9999 scored sites"),
        (f"compare @store --a A {LOOSE} --hits @motifs.meme --out @x", "not readable as Parquet"),
        (f"compare @store --a A {LOOSE} --hits @none.parquet --out @x", "no such file"),
        (f"compare @store --a A {LOOSE} --track @none.bb --out @x", "no such file"),
        (f"compare @store --a A {LOOSE} --out @store", "holds other files"),
        (f"compare @store --a A {LOOSE} --out @no/folder", "there is no folder"),
        (f"compare @store --a A {LOOSE} --out @store/inside", "is inside the store"),
        ("scan @store --motifs @motifs.meme --out @store/x.tsv", "is inside the store"),
        ("agree @store @ism --model A --motifs @motifs.meme --out @ism/x", "is inside the store"),
        ("discover @store --seqlets-only --out @store/x", "is inside the store"),
        ("scan @store --motifs @motifs.meme --out @hits.bed", "ends in .parquet, .tsv or .tsv.gz"),
        ("scan @store --set third --motifs @motifs.meme --out @x.tsv", "has no set 'third'"),
        ("agree @store @other --model A --motifs @motifs.meme --out @x", "is not the genome of"),
        (
            "agree @store @store --model A --motifs @motifs.meme --out @x",
            "expected first a store of gradients",
        ),
        ("agree @store @ism --model A --motifs @motifs.meme --out @no/x", "there is no folder"),
    ],
)
def test_one_line_says_what_is_wrong(folder: Path, command: str, message: str) -> None:
    before = sorted(folder.iterdir())
    done = invoke(folder, command)
    assert done.exit_code == 1, done.output
    assert message in done.output
    assert done.output.splitlines()[-1].startswith("Error: ")
    assert sorted(folder.iterdir()) == before
