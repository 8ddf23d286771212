"""Kipoi: variant effects through kipoiseq's sequence dataloader, as kipoi-veff2 does it, and through our VCF dataloader."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from kipoi_cases import make_checkpoint, make_genome, run_kipoi

from chromtransfer_plugin.checkpoint import load_model
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.friendly import ChromTransferWarning
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.kipoi.description import variant_effect_yaml
from chromtransfer_plugin.kipoi.group import add_to_group, register
from chromtransfer_plugin.onehot import one_hot
from chromtransfer_plugin.predict import predict_logits, probabilities
from chromtransfer_plugin.variants import allele_windows, read_variants, window_starts

ZOO = Path(__file__).parents[1] / "model_zoo"
LINES = ("A", "B", "none")
NEAR = {"atol": 1e-6, "rtol": 0}

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A zoo source with two models, a genome, and variants of every kind."""
    folder = tmp_path_factory.mktemp("veff")
    add_to_group(
        make_checkpoint(folder / "a", outputs=LINES, activation="softmax"), "lines", folder / "zoo", "G"
    )
    add_to_group(make_checkpoint(folder / "b", window=101, seed=2), "odd", folder / "zoo", "G")
    contigs = {name: text.upper() for name, text in make_genome(folder / "genome.fa").items()}
    rng = np.random.default_rng(7)
    rows = []
    for kind, n_ref, n_alt in (("snv", 1, 1), ("mnv", 3, 3), ("ins", 1, 8), ("del", 9, 1), ("complex", 2, 5)):
        for pos in sorted(int(pos) for pos in rng.integers(3_500, 5_500, 3)):
            chrom = str(rng.choice(list(contigs)))
            ref = contigs[chrom][pos - 1 : pos - 1 + n_ref]
            first = "ACGT"["ACGT".index(ref[0]) - 1] if kind in ("snv", "mnv", "complex") else ref[0]
            rows.append((chrom, pos, kind, ref, first + "".join(rng.choice(list("ACGT"), n_alt - 1))))
    rows.append(
        ("chr2", 1_950, "snv", contigs["chr2"][1_949], "ACGT"["ACGT".index(contigs["chr2"][1_949]) - 1])
    )
    header = "##fileformat=VCFv4.2\n##contig=<ID=chr1>\n##contig=<ID=chr2>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    (folder / "all.vcf").write_text(
        header + "".join("\t".join(map(str, (*row, ".", ".", "."))) + "\n" for row in rows)
    )
    return folder


def ours(folder: Path, name: str) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Table of the variants, and probabilities of their reference and alternative windows."""
    model, card = load_model(folder / "zoo" / "G" / name)
    genome = Genome(folder / "genome.fa")
    table = read_variants(folder / "all.vcf", genome, card.window).table
    assert len(table) == 16
    scores = [
        probabilities(
            predict_logits(model, allele_windows(genome, table, allele, card.window)), card.activation
        )
        for allele in ("ref", "alt")
    ]
    return table, *scores


def kipoi_model(folder: Path, name: str):
    import kipoi

    return kipoi.get_model(str(folder / "zoo" / "G-veff" / name), source="dir")


# --- the description -------------------------------------------------------------------------------------


def test_the_second_group_says_what_a_pipeline_asks_for(folder):
    from kipoi.sources import LocalSource

    source = LocalSource(str(folder / "zoo"))
    assert source.list_models()["model"].tolist() == ["G/lines", "G/odd", "G-veff/lines", "G-veff/odd"]
    for name, width, labels in (("lines", 600, LINES), ("odd", 101, ("open",))):
        told = source.get_model_descr(f"G-veff/{name}")
        assert told.default_dataloader.defined_as == "kipoiseq.dataloaders.SeqIntervalDl"
        arguments = told.default_dataloader.default_args
        assert (arguments["auto_resize_len"], arguments["alphabet_axis"]) == (width, 0)
        assert (arguments["dtype"], arguments.get("dummy_axis")) == ("np.float32", None)
        assert told.schema.inputs.shape == (4, width)
        assert told.schema.inputs.special_type.value == "DNASeq"
        assert told.schema.inputs.associated_metadata == ["ranges"]
        assert (tuple(told.schema.targets.column_labels), told.schema.targets.shape) == (
            labels,
            (len(labels),),
        )
    names = sorted(path.name for path in (folder / "zoo" / "G-veff").iterdir())
    assert names == ["model-template.yaml", "models.tsv"]  # no second copy of any weights


def test_a_group_cannot_take_the_name_of_a_second_one(folder):
    with pytest.raises(
        ChromTransferError, match="group name 'G-veff': is kept for the variant-effect side of group 'G'"
    ):
        register(folder / "zoo", "G-veff")


def test_the_zoo_has_a_second_group_that_is_up_to_date():
    second = ZOO / "ChromTransfer-veff"
    assert (second / "models.tsv").read_bytes() == (ZOO / "ChromTransfer" / "models.tsv").read_bytes()
    template = (second / "model-template.yaml").read_text()
    assert template.split("\n", 1)[1] == variant_effect_yaml("ChromTransfer")


def test_kipoi_test_passes_for_a_model_of_the_zoo_from_elsewhere(home, tmp_path):
    done = run_kipoi(home, "test", ZOO / "ChromTransfer-veff" / "HEPG2", "--source=dir", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "All predictions match" in done.stdout


@pytest.mark.parametrize("contig", [None, "1", "chr1"], ids=["random", "1", "chr1"])
def test_kipoiseq_finds_the_example_windows_of_a_group(folder, tmp_path, contig):
    """It puts chr before the contigs of the intervals, not before those of the genome."""
    import kipoi

    genome = None
    if contig:
        genome = tmp_path / "genome.fa"
        genome.write_text(f">{contig}\n{'GATTACA' * 300}\n")
    add_to_group(folder / "a", "own", tmp_path / "zoo", "G", genome=genome)
    with h5py.File(tmp_path / "zoo" / "G" / "own" / "expect.h5") as file:
        expected = file["preds"][:]
    found = kipoi.get_model(str(tmp_path / "zoo" / "G-veff" / "own"), source="dir").pipeline.predict_example()
    np.testing.assert_allclose(found, expected, **NEAR)


# --- kipoiseq's dataloader and what kipoi-veff2 does with it ---------------------------------------------


def test_an_unknown_base_may_be_a_quarter_of_each(folder):
    model = kipoi_model(folder, "lines")
    codes = np.random.default_rng(1).integers(0, 4, (3, 600), dtype=np.uint8)
    codes[0, 250:420] = 4
    codes[1] = 4
    zeros = one_hot(codes, "channels_first")
    quarters = np.where(codes[:, None] == 4, np.float32(0.25), zeros)
    with pytest.warns(ChromTransferWarning, match="all-zero columns"):
        expected = model.predict_on_batch(zeros)
    np.testing.assert_array_equal(model.predict_on_batch(quarters), expected)
    assert np.isnan(expected[1]).all()
    assert not np.isnan(expected[[0, 2]]).any()
    assert quarters[0, 0, 300] == 0.25  # what the caller has stays as it is


def test_soft_masked_bases_are_lost_by_kipoiseq_which_is_said(folder):
    from kipoiseq.transforms import ReorderedOneHot

    settings = dataloader_settings(folder, "lines")
    encode = ReorderedOneHot(dtype=settings["dtype"], alphabet_axis=settings["alphabet_axis"])
    text = "".join(np.random.default_rng(2).choice(list("ACGTN"), 600))
    model = kipoi_model(folder, "lines")
    with pytest.warns(
        ChromTransferWarning, match=r"lower-case \(soft-masked\) letters. Use an upper-case genome"
    ):
        masked = model.predict_on_batch(encode(text[:300].lower() + text[300:])[np.newaxis])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        unknown = model.predict_on_batch(encode("N" * 300 + text[300:])[np.newaxis])
        assert np.abs(model.predict_on_batch(encode(text)[np.newaxis]) - masked).max() > 1e-4
    np.testing.assert_array_equal(masked, unknown)


def test_kipoi_predict_through_kipoiseq_gives_our_numbers(folder, home, tmp_path):
    table, expected, _ = ours(folder, "lines")
    start = window_starts(table, "ref")
    lines = (
        f"{row.chrom}\t{at}\t{at + 600}\t{row.id}\n"
        for row, at in zip(table.itertuples(), start, strict=True)
    )
    (tmp_path / "windows.bed").write_text("".join(lines) + "chr1\t1000\t1600\tlower_case\n")
    model, card = load_model(folder / "zoo" / "G" / "lines")
    lower_case = predict_logits(model, Genome(folder / "genome.fa").codes("chr1", 1_000, 1_600)[None])
    expected = np.concatenate([expected, probabilities(lower_case, card.activation)])
    files = {"intervals_file": str(tmp_path / "windows.bed"), "fasta_file": str(folder / "genome.fa")}
    arguments = ["--dataloader_args", json.dumps(files), "--keep_metadata", "-o", "out.tsv"]
    exported = folder / "zoo" / "G-veff" / "lines"
    done = run_kipoi(home, "predict", exported, "--source=dir", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Warning: some bases" not in done.stderr
    got = pd.read_csv(tmp_path / "out.tsv", sep="\t")
    np.testing.assert_allclose(got.filter(like="preds/").to_numpy(), expected, **NEAR)
    assert got["metadata/ranges/start"].tolist() == [*start.tolist(), 1_000]


def pairs(vcf: Path, fasta: Path, width: int) -> Iterator[tuple[str, str]]:
    """Reference and alternative sequence of each record, as a pipeline of kipoiseq cuts them."""
    from cyvcf2 import VCF
    from kipoiseq.dataclasses import Interval, Variant
    from kipoiseq.extractors import VariantSeqExtractor

    extractor = VariantSeqExtractor(fasta_file=str(fasta))
    for record in VCF(str(vcf)):
        variant = Variant.from_cyvcf(record)
        window = Interval(variant.chrom, variant.pos - 1, variant.pos).resize(width)
        yield tuple(
            extractor.extract(window, variants=applied, anchor=window.center()) for applied in ([], [variant])
        )


@pytest.mark.parametrize("name", ["lines", "odd"])
def test_a_pipeline_like_kipoi_veff2_gives_our_numbers_for_snvs(folder, name):
    from kipoiseq.transforms import ReorderedOneHot

    model = kipoi_model(folder, name)
    assert model.default_dataloader.get_output_schema().inputs.shape == model.schema.inputs.shape
    settings = dataloader_settings(folder, name)
    encode = ReorderedOneHot(
        alphabet="ACGT",
        dtype=settings.get("dtype"),
        alphabet_axis=settings.get("alphabet_axis", 1),
        dummy_axis=settings.get("dummy_axis"),
    )
    table, ref, alt = ours(folder, name)
    snvs = np.flatnonzero(table["id"] == "snv")
    cut = list(pairs(folder / "all.vcf", folder / "genome.fa", settings["auto_resize_len"]))
    assert len(snvs) == 4
    assert sum("N" in cut[i][0] for i in snvs) == (1 if name == "lines" else 0)
    for i in snvs:
        for text, expected in zip(cut[i], (ref[i], alt[i]), strict=True):
            np.testing.assert_allclose(model.predict_on_batch(encode(text)[np.newaxis])[0], expected, **NEAR)
    assert np.abs(ref[snvs] - alt[snvs]).max() > 1e-4


def dataloader_settings(folder: Path, name: str) -> dict:
    from kipoi.sources import LocalSource

    return LocalSource(str(folder / "zoo")).get_model_descr(f"G-veff/{name}").default_dataloader.default_args


# --- our own dataloader ----------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [[], ["-n", "2", "--batch_size", "3"]])
def test_kipoi_predict_with_our_dataloader_gives_our_numbers_for_every_kind(folder, home, tmp_path, options):
    table, ref, alt = ours(folder, "odd")
    assert table["id"].nunique() == 5
    files = {"vcf_file": str(folder / "all.vcf"), "fasta_file": str(folder / "genome.fa"), "width": 101}
    arguments = ["--dataloader", "chromtransfer_plugin.kipoi.VariantDataloader", "--keep_metadata", *options]
    arguments += ["--dataloader_args", json.dumps(files), "-o", "out.tsv"]
    done = run_kipoi(home, "predict", folder / "zoo" / "G" / "odd", "--source=dir", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    got = pd.read_csv(tmp_path / "out.tsv", sep="\t")
    assert got["metadata/allele"].tolist() == ["ref", "alt"] * len(table)
    np.testing.assert_allclose(got["preds/0"][::2], ref[:, 0], **NEAR)
    np.testing.assert_allclose(got["preds/0"][1::2], alt[:, 0], **NEAR)
    names = table["chrom"] + ":" + table["pos"].astype(str) + ":" + table["ref"] + ":" + table["alt"]
    assert got["metadata/ranges/id"][::2].tolist() == names.tolist()
    assert got["metadata/ranges/start"][::2].tolist() == window_starts(table, "ref", 101).tolist()
