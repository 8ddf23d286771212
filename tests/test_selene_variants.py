"""Selene's variant_effect_prediction, and the YAML files of both analyses: its numbers are ours, what is refused is said."""

from __future__ import annotations

import gzip
import shutil
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pysam
import pytest
from kipoi_cases import make_checkpoint, make_genome
from selene_analysis_cases import (
    OUTPUTS,
    SAVED,
    draw,
    make_analyses,
    mutants,
    other_base,
    ours,
    saved,
    write_vcf,
)
from selene_cases import CONFIGS, SeleneServer, run_selene

from chromtransfer_plugin import variants
from chromtransfer_plugin.attribution import ism
from chromtransfer_plugin.checkpoint import load_model
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.fasta import read_fasta
from chromtransfer_plugin.friendly import ChromTransferWarning
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.onehot import encode
from chromtransfer_plugin.predict import predict_logits, probabilities
from chromtransfer_plugin.selene import Genome as SeleneGenome

SCIENCE = {"rtol": 0.006, "atol": 1e-9}  # Selene's tables have three significant digits


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("variants")
    make_checkpoint(folder / "model", outputs=OUTPUTS)
    return folder


@pytest.fixture(scope="module")
def text(folder) -> dict[str, str]:
    return {name: sequence.upper() for name, sequence in make_genome(folder / "genome.fa").items()}


@pytest.fixture(scope="module")
def model(folder):
    return load_model(folder / "model").model


@pytest.fixture(scope="module")
def analyses(folder, text):
    """Selene's class with probabilities, and with logits."""
    del text  # writes the genome
    return make_analyses(folder)


@pytest.fixture
def analysis(analyses):
    return analyses[0]


# --- variants: the numbers -------------------------------------------------------------------------------


def test_numbers_and_names_are_ours_for_all_but_deletions(folder, text, model, analyses, tmp_path):
    rng = np.random.default_rng(3)
    kinds = ["snv", "mnv2", "mnv3", "ins1", "ins7", "multi"] * 3
    rows = [draw(text, kind, rng) for kind in kinds]
    rows += [("chr2", 1_900, "near_N", text["chr2"][1_899], other_base(text["chr2"][1_899]))]
    vcf = write_vcf(tmp_path / "all.vcf", rows)
    table, ref, alt = ours(vcf, folder / "genome.fa", model)
    assert len(table) == 22
    p_ref, p_alt = probabilities(ref), probabilities(alt)
    assert np.abs(p_alt - p_ref).max() > 1e-3

    with pytest.warns(ChromTransferWarning) as caught:
        analyses[0].variant_effect_prediction(str(vcf), SAVED, str(tmp_path / "p"), "hdf5")
    near = {"atol": 1e-5, "rtol": 0}
    np.testing.assert_allclose(saved(tmp_path / "p", "all.ref_predictions"), p_ref, **near)
    np.testing.assert_allclose(saved(tmp_path / "p", "all.alt_predictions"), p_alt, **near)
    np.testing.assert_allclose(saved(tmp_path / "p", "all_diffs"), p_alt - p_ref, **near)
    np.testing.assert_allclose(saved(tmp_path / "p", "all_abs_diffs"), np.abs(p_alt - p_ref), **near)
    np.testing.assert_allclose(saved(tmp_path / "p", "all_logits"), alt - ref, **near)
    labels = pd.read_csv(tmp_path / "p" / "all_row_labels.txt", sep="\t")
    assert labels.columns.tolist() == [
        "chrom",
        "pos",
        "name",
        "ref",
        "alt",
        "strand",
        "ref_match",
        "contains_unk",
    ]
    for column, own in (("chrom", "chrom"), ("pos", "pos"), ("name", "id"), ("ref", "ref"), ("alt", "alt")):
        assert labels[column].tolist() == table[own].tolist()
    assert labels["ref_match"].all()
    with_n = int(labels["contains_unk"].sum())
    assert 1 <= with_n < 10
    (said,) = (str(warning.message) for warning in caught if warning.category is ChromTransferWarning)
    assert said == f"{vcf}: alleles with unknown bases (N) in their window (contains_unk is True): {with_n}."

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ChromTransferWarning)
        analyses[1].variant_effect_prediction(str(vcf), ["diffs"], str(tmp_path / "z"), "hdf5")
    np.testing.assert_allclose(saved(tmp_path / "z", "all_diffs"), alt - ref, **near)


@pytest.mark.parametrize(("length", "beside"), [(598, 0), (599, 0), (600, 1), (601, 0), (900, 1)])
def test_insertions_longer_than_the_window(folder, text, model, analyses, tmp_path, length, beside):
    """Selene takes the middle of ALT, which begins with a base that was there before."""
    row = draw(text, f"ins{length}", np.random.default_rng(length))
    vcf = write_vcf(tmp_path / "long.vcf", [row])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ChromTransferWarning)  # of an N nearby
        analyses[1].variant_effect_prediction(str(vcf), ["predictions"], str(tmp_path), "hdf5")
    table = variants.read_variants(vcf, Genome(folder / "genome.fa")).table
    codes = variants.allele_windows(Genome(folder / "genome.fa"), table, "alt", shift=-beside)
    selene = saved(tmp_path, "long.alt_predictions")
    np.testing.assert_allclose(selene, predict_logits(model, codes), atol=1e-5)
    ours_at_its_place = ours(vcf, folder / "genome.fa", model)[2]
    assert (np.abs(selene - ours_at_its_place).max() > 1e-4) == bool(beside)


@pytest.mark.parametrize("n_ref", [2, 3, 4, 11])
def test_selene_scores_a_deletion_two_bases_too_far_right(folder, text, model, analyses, tmp_path, n_ref):
    chrom = text["chr1"]
    # The last deleted base is not the one before them, so the deletion cannot be written further left.
    pos = next(p for p in range(4_001, 5_000) if chrom[p - 1] != chrom[p - 2 + n_ref])
    ref, alt = chrom[pos - 1 : pos - 1 + n_ref], chrom[pos - 1]
    vcf = write_vcf(tmp_path / "del.vcf", [("chr1", pos, "d", ref, alt)])
    with pytest.warns(
        ChromTransferWarning, match=r"deletions, with wrong scores: 1\. .*`chromtransfer variants`"
    ):
        analyses[1].variant_effect_prediction(str(vcf), ["predictions"], str(tmp_path), "hdf5")
    selene = saved(tmp_path, "del.alt_predictions")[0]

    def deleted(at: int) -> str:
        """The 600 bp from pos - 300 on of the genome whose n_ref bases from ``at`` on (from 0) are ALT instead."""
        return (chrom[:at] + alt + chrom[at + n_ref :])[pos - 300 :][:600]

    scored, right = predict_logits(model, np.array([encode(deleted(pos + 1)), encode(deleted(pos - 1))]))
    np.testing.assert_allclose(selene, scored, atol=1e-5)
    table, _, own = ours(vcf, folder / "genome.fa", model)
    assert variants.window_starts(table, "alt").tolist() == [pos - 300]
    np.testing.assert_allclose(own[0], right, atol=1e-5)
    assert np.abs(selene - right).max() > 1e-3


def test_the_strand_column_is_read(folder, text, model, analyses, tmp_path):
    rows = [
        (*draw(text, "snv", np.random.default_rng(seed)), strand) for seed, strand in ((1, "-"), (2, "+"))
    ]
    vcf = write_vcf(tmp_path / "strand.vcf", rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ChromTransferWarning)
        analyses[1].variant_effect_prediction(
            str(vcf), ["predictions"], str(tmp_path), "hdf5", strand_index=5
        )
    opened = Genome(folder / "genome.fa")
    table = variants.read_variants(vcf, opened).table
    codes = variants.allele_windows(opened, table, "alt")
    codes[0] = np.array([3, 2, 1, 0, 4], dtype=np.uint8)[codes[0]][::-1]
    got = saved(tmp_path, "strand.alt_predictions")
    np.testing.assert_allclose(got, predict_logits(model, codes), atol=1e-5)
    with pytest.raises(ChromTransferError, match=r"line 5 has 9 columns, there is no column 9"):
        analyses[1].variant_effect_prediction(str(vcf), ["diffs"], str(tmp_path), strand_index=9)


# --- variants: files and records that Selene chokes on ---------------------------------------------------


@pytest.mark.parametrize("ending", ["vcf", "vcf.gz", "vcf.bgz", "gz", "crlf.vcf", "headless"])
def test_every_kind_of_file_gives_the_same(analysis, text, tmp_path, ending):
    rows = [draw(text, kind, np.random.default_rng(4)) for kind in ("snv", "ins7")]
    plain = write_vcf(tmp_path / "plain.vcf", rows)
    path = tmp_path / f"v.{ending}"
    content = plain.read_bytes()
    if ending == "vcf.gz":
        path.write_bytes(gzip.compress(content))
    elif ending in ("vcf.bgz", "gz"):
        pysam.tabix_compress(str(plain), str(path))
    elif ending == "crlf.vcf":
        path.write_bytes(content.replace(b"\n", b"\r\n"))
    elif ending == "headless":
        path.write_bytes(b"".join(line for line in content.splitlines(True) if not line.startswith(b"#")))
    else:
        path.write_bytes(content)
    out = tmp_path / "new" / "folder"
    for source in (plain, path, plain):  # the same one again replaces its results
        analysis.variant_effect_prediction(str(source), ["diffs"], str(out))
    prefix = {"crlf.vcf": "v.crlf", "headless": "v.headless"}.get(ending, "v")
    assert (out / f"{prefix}_diffs.tsv").read_text() == (out / "plain_diffs.tsv").read_text()
    assert len((out / "plain_diffs.tsv").read_text().splitlines()) == 3


def test_what_cannot_be_scored_is_left_out_counted_and_listed(analysis, text, tmp_path):
    base = text["chr1"][999]
    alt = other_base(base)
    rows = [
        ("chr1", 1_000, "first#1", base.lower(), alt.lower()),
        ("chr1", 1_000, "symbolic", base, f"<DEL>,{alt}"),
        ("chr1", 1_000, "star", base, "*"),
        ("chr1", 1_000, "monomorphic", base, "."),
        ("chr1", 1_000, "breakend", base, f"{base}[chr2:2000["),
        ("chr1", 1_000, "letters", base, "R"),
        ("chr1", 1_000, "dash", base, "-"),
        ("chr1", 20, "edge", text["chr1"][19], other_base(text["chr1"][19])),
        ("chrUn", 1_000, "unknown", "A", "C"),
        ("chr1", "x", "number", "A", "C"),
        ("chr1", 1_000, "mismatch", alt, base),
        ("chr1", 1_000, "long", text["chr1"][999:1_599], "A"),
    ]
    vcf = write_vcf(tmp_path / "mixed.vcf", rows)
    with vcf.open("a") as file:
        file.write("only\tthree\tcolumns\n\n")
    with pytest.warns(ChromTransferWarning) as caught:
        analysis.variant_effect_prediction(str(vcf), ["diffs"], str(tmp_path / "out"))
    messages = [str(warning.message) for warning in caught]
    assert len(messages) == 2
    assert messages[0].startswith(
        f"{vcf}: alleles with another REF than the genome has (ref_match is False): 1."
    )
    counts, *reasons, listed = messages[1].splitlines()
    assert counts == f"{vcf}: 14 alleles, 3 scored by Selene, 11 left out"
    assert sorted(reasons) == sorted(
        [
            "  2 x is no record: fewer than five columns separated by tabs, or a POS that is no number",
            "  2 x ALT is symbolic or a breakend",
            "  2 x the window reaches off its contig, or the contig is not in the genome",
            "  2 x an allele has letters other than A, C, G, T",
            "  1 x ALT is *, a deletion that another record describes",
            "  1 x no ALT allele",
            "  1 x REF is as long as the window",
        ]
    )
    assert listed == f"  All of them are listed in {tmp_path / 'out' / 'mixed.NA'}."
    names = [line.split("\t")[2] for line in (tmp_path / "out" / "mixed.NA").read_text().splitlines()]
    # Selene writes its own first.
    expected = "edge unknown symbolic star monomorphic breakend letters dash number long columns"
    assert names == expected.split()
    table = pd.read_csv(tmp_path / "out" / "mixed_diffs.tsv", sep="\t")
    assert table["name"].tolist() == ["first#1", "symbolic", "mismatch"]
    assert table["ref_match"].tolist() == [True, True, False]
    np.testing.assert_allclose(table["open"][:2], [table["open"][0]] * 2)
    np.testing.assert_allclose(table["open"][2], -table["open"][0])
    assert table["open"][0] != 0


def test_a_contig_without_chr_is_found_as_selene_finds_it(analysis, text, tmp_path):
    row = draw(text, "snv", np.random.default_rng(1))
    analysis.variant_effect_prediction(str(write_vcf(tmp_path / "a.vcf", [row])), ["diffs"], str(tmp_path))
    bare = (row[0].removeprefix("chr"), *row[1:])
    analysis.variant_effect_prediction(str(write_vcf(tmp_path / "b.vcf", [bare])), ["diffs"], str(tmp_path))
    assert (tmp_path / "a_diffs.tsv").read_text() == (tmp_path / "b_diffs.tsv").read_text()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("gone", "no such file, expected a genome FASTA"),
        ("gzip", "is compressed with gzip, expected plain FASTA or bgzip"),
        ("uneven", "cannot be read or indexed by pyfaidx, .*Line length"),
        ("twice", "cannot be read or indexed by pyfaidx, .*chr1"),
        ("index", "cannot be read or indexed by pyfaidx, .*Could not read index file"),
    ],
)
def test_a_genome_that_cannot_be_read_is_named(tmp_path, damage, message):
    path = tmp_path / "g.fa"
    text = ">chr1\nACGT\n" * (2 if damage == "twice" else 1) + (
        ">b\nACGT\nA\nACGT\n" if damage == "uneven" else ""
    )
    if damage != "gone":
        path.write_bytes(gzip.compress(text.encode()) if damage == "gzip" else text.encode())
    if damage == "index":
        (tmp_path / "g.fa.fai").mkdir()
    with pytest.raises(ChromTransferError, match=f"g.fa: {message}"):
        SeleneGenome(str(path)).get_chrs()


def test_files_of_one_name_do_not_replace_each_others_results(analysis, text, tmp_path):
    (tmp_path / "other").mkdir()
    rows = [draw(text, "snv", np.random.default_rng(1))]
    first, second = (write_vcf(folder / "same.vcf", rows) for folder in (tmp_path, tmp_path / "other"))
    analysis.variant_effect_prediction(str(first), ["diffs"], str(tmp_path / "out"))
    with pytest.raises(
        ChromTransferError, match=r"other/same.vcf would replace the results of .*same.vcf\. Rename"
    ):
        analysis.variant_effect_prediction(str(second), ["diffs"], str(tmp_path / "out"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vcf_file": "nothing.vcf"}, "nothing.vcf: no such file; `vcf_files` of .* is a list"),
        (
            {"save_data": ["scores"]},
            "save_data=\\['scores'\\] is not usable: expected a list of predictions, ",
        ),
        ({"save_data": "diffs"}, "save_data='diffs' is not usable"),
        ({"save_data": []}, "is not usable"),
        ({"output_format": "csv"}, "output_format 'csv' is unknown: use tsv or hdf5"),
        ({"strand_index": "5"}, "strand_index='5' is not usable"),
        ({"output": "x"}, "unknown key 'output'. Did you mean 'output_dir'"),
    ],
)
def test_mistakes_in_the_section_are_named(analysis, text, tmp_path, change, message):
    vcf = write_vcf(tmp_path / "v.vcf", [draw(text, "snv", np.random.default_rng(0))])
    good = {"vcf_file": str(vcf), "save_data": ["diffs"], "output_dir": str(tmp_path / "out")}
    with pytest.raises(ChromTransferError, match=message):
        analysis.variant_effect_prediction(**(good | change))
    assert not (tmp_path / "out").exists()


def test_logits_of_logits_are_refused(analyses, tmp_path):
    with pytest.raises(
        ChromTransferError, match="`logits` in save_data needs `class: ChromTransferProbability`"
    ):
        analyses[1].in_silico_mutagenesis("ACGT", ["logits"], str(tmp_path / "x"))


def test_a_file_without_a_usable_variant_is_an_error(analysis, tmp_path):
    nothing = write_vcf(
        tmp_path / "none.vcf", [("chrUn", 1_000, "a", "A", "C"), ("chr1", 9, "b", "A", "<INS>")]
    )
    with pytest.raises(
        ChromTransferError, match=r"2 alleles, 0 scored(?s:.*)No variant is left\. Contigs of .*: chr1, chr2"
    ):
        analysis.variant_effect_prediction(str(nothing), ["diffs"], str(tmp_path / "out"))
    with pytest.raises(ChromTransferError, match="holds no variants"):
        analysis.variant_effect_prediction(
            str(write_vcf(tmp_path / "h.vcf", [])), ["diffs"], str(tmp_path / "out")
        )
    (tmp_path / "binary.vcf").write_bytes(b"BCF\2\2\0\0\0")
    with pytest.raises(ChromTransferError, match=r"is a binary file.*bcftools view"):
        analysis.variant_effect_prediction(str(tmp_path / "binary.vcf"), ["diffs"], str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


# --- the official command --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fresh(tmp_path_factory) -> Path:
    """A folder with the configurations as `chromtransfer configs copy` writes them."""
    folder = tmp_path_factory.mktemp("fresh")
    shutil.copytree(
        CONFIGS, folder / "configs", ignore=shutil.ignore_patterns("*.fai", "*.gzi", "*.genome-cache")
    )
    return folder


@pytest.fixture(scope="module")
def zoo_model():
    return load_model(CONFIGS.parent / "model_zoo" / "ChromTransfer" / "HEPG2").model


def test_the_variants_file_runs_as_it_is(fresh, zoo_model):
    done = run_selene("configs/chromtransfer/variants.yml", fresh)
    assert done.code == 0, done.err
    assert "deletions, with wrong scores: 1" in done.err
    example = fresh / "configs" / "example"
    table, ref, alt = ours(example / "variants.vcf", example / "genome.fa.gz", zoo_model)
    not_deleted = (table["ref"].str.len() <= table["alt"].str.len()).to_numpy()
    assert not_deleted.sum() == 10
    written = {
        name: pd.read_csv(fresh / "runs" / "variants" / f"variants{name}.tsv", sep="\t")["HEPG2"].to_numpy()
        for name in (".ref_predictions", ".alt_predictions", "_diffs", "_logits")
    }
    p_ref, p_alt = probabilities(ref)[:, 0], probabilities(alt)[:, 0]
    for name, expected in (
        (".ref_predictions", p_ref),
        (".alt_predictions", p_alt),
        ("_diffs", p_alt - p_ref),
        ("_logits", (alt - ref)[:, 0]),
    ):
        np.testing.assert_allclose(written[name][not_deleted], expected[not_deleted], **SCIENCE)


def test_the_mutagenesis_file_runs_as_it_is(fresh, zoo_model):
    done = run_selene("configs/chromtransfer/ism.yml", fresh)
    assert done.code == 0, done.err
    for record in read_fasta(fresh / "configs" / "example" / "sequences.fa"):
        table = pd.read_csv(fresh / "runs" / "ism" / f"{record.id}_diffs.tsv", sep="\t")
        assert len(table) == 300
        raw = ism(zoo_model, record.codes[None], output="probability", raw=True, start=250, end=350)[0]
        expected = [row[3] for row in mutants(raw, record.sequence.decode(), 250)]
        np.testing.assert_allclose(table["HEPG2"], expected, rtol=0.006, atol=1e-5)


def test_mistakes_in_the_files_end_in_one_line(fresh, tmp_path):
    server = SeleneServer(tmp_path)
    texts = {name: (CONFIGS / "chromtransfer" / f"{name}.yml").read_text() for name in ("variants", "ism")}
    for name, old, new, message in (
        (
            "variants",
            "[configs/example/variants.vcf]",
            "configs/example/variants.vcf",
            "is a list: [FILE.vcf, ...]",
        ),
        (
            "variants",
            "output_format: tsv",
            "format: tsv",
            "unknown key 'format'. Did you mean 'output_format'",
        ),
        (
            "variants",
            "ChromTransfer/HEPG2",
            "ChromTransfer/HEPG",
            "ChromTransfer/HEPG: no such checkpoint folder",
        ),
        ("ism", "sequences.fa,", "nothing.fa,", "nothing.fa: no such file"),
        (
            "ism",
            "start_position: 250",
            "start_pos: 250",
            "unknown key 'start_pos'. Did you mean 'start_position'",
        ),
    ):
        assert old in texts[name]
        (fresh / "wrong.yml").write_text(texts[name].replace(old, new))
        assert message in server.run("wrong.yml", fresh).error()
    server.close()
