"""Kipoi: targets of the region dataloader, and the dataloaders for FASTA and VCF files."""

from __future__ import annotations

import json
import pickle
import tracemalloc
import warnings
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from kipoi_cases import encode_by_hand, make_genome, make_loader, run_kipoi

from chromtransfer_plugin.checkpoint import load_model
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.friendly import ChromTransferWarning
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.predict import predict_logits, probabilities
from chromtransfer_plugin.variants import allele_windows, read_variants

pytestmark = pytest.mark.usefixtures("home")

NAMES = ("RegionDataloader", "FastaDataloader", "VariantDataloader")
COMPLEMENT = str.maketrans("ACGT", "TGCA")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def contigs(folder) -> dict[str, str]:
    return {name: text.upper() for name, text in make_genome(folder / "genome.fa").items()}


@pytest.fixture(scope="module")
def genome(folder, contigs) -> Path:
    return folder / "genome.fa"


def make(name: str, **arguments):
    """A dataloader by its name, as Kipoi finds it, without its warnings."""
    import kipoi

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ChromTransferWarning)
        return kipoi.get_dataloader_factory(f"chromtransfer_plugin.kipoi.{name}", "py")(**arguments)


def direct(checkpoint: Path, X: np.ndarray) -> np.ndarray:
    model, card = load_model(checkpoint)
    return probabilities(predict_logits(model, X), card.activation)


# --- what Kipoi checks ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_descriptions_fit_the_classes_and_models_of_any_number_of_outputs(name):
    import kipoi
    from kipoi.specs import ModelSchema
    from kipoi_utils import getargs

    loader = kipoi.get_dataloader_factory(f"chromtransfer_plugin.kipoi.{name}", "py")
    assert loader.__name__ == name
    assert set(loader.args) == set(getargs(loader))
    required = {name for name, argument in loader.args.items() if not argument.optional}
    assert required == {argument for argument in loader.args if argument.endswith("_file")}
    for outputs in (1, 7):
        schema = {
            "inputs": {"shape": "(4, 600)", "doc": "x"},
            "targets": {"shape": f"({outputs},)", "doc": "y"},
        }
        assert ModelSchema.from_config(schema).compatible_with_schema(loader.get_output_schema())


# --- targets -------------------------------------------------------------------------------------------

LABELLED = [
    "# chrom start end label x y",
    "chr1\t1000\t1600\tK562\t0.5\t1",
    "chr2\t5900\t6000\tK562\t9\t9",  # off the contig
    "chr1\t2000\t2600\tA549\t.\t-2e1",
    "chr2\t100\t700\tK562\tNA\t3",
]


@pytest.fixture(scope="module")
def labelled(folder) -> Path:
    path = folder / "labelled.bed"
    path.write_text("\n".join(LABELLED) + "\n")
    return path


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ({"positive": "K562"}, [[1], [0], [1]]),
        ({"positive": "K562,A549"}, [[1], [1], [1]]),
        ({"classes": "A549,K562"}, [[0, 1], [1, 0], [0, 1]]),
        ({"classes": ["K562", "A549"]}, [[1, 0], [0, 1], [1, 0]]),
        ({"target_columns": "5-6"}, [[0.5, 1], [np.nan, -20], [np.nan, 3]]),
        ({"target_columns": "6,5"}, [[1, 0.5], [-20, np.nan], [3, np.nan]]),
        ({"target_columns": 6}, [[1], [-20], [3]]),
        ({"label_column": 6, "positive": 1}, [[1], [0], [0]]),
        ({}, None),
    ],
)
def test_labels_become_targets_of_the_rows_that_are_kept(labelled, genome, arguments, wanted):
    loader = make_loader(labelled, genome, **arguments)
    batch = loader.load_all(batch_size=2)
    np.testing.assert_array_equal(batch["metadata"]["source_line"], [2, 4, 5])
    assert loader.get_output_schema().compatible_with_batch(batch)
    if wanted is None:
        assert set(batch) == set(loader[0]) == {"inputs", "metadata"}
        return
    assert batch["targets"].dtype == np.float32
    np.testing.assert_array_equal(batch["targets"], np.array(wanted))
    np.testing.assert_array_equal(loader[1]["targets"], wanted[1])
    inputs, targets = next(iter(loader.batch_train_iter(batch_size=3)))
    np.testing.assert_array_equal(inputs, batch["inputs"])
    np.testing.assert_array_equal(targets, batch["targets"])


def test_rows_that_lack_a_column_of_numbers_are_left_out(folder, genome):
    path = folder / "ragged.bed"
    path.write_text("chr1\t1000\t1600\ta\t1\nchr1\t2000\t2600\ta\t2\t3\n")
    loader = make_loader(path, genome, target_columns="5,6").load_all()
    assert loader["metadata"]["source_line"].tolist() == [2]
    np.testing.assert_array_equal(loader["targets"], [[2, 3]])


def test_labels_of_the_papers_csv(folder, genome):
    path = folder / "paper.csv"
    path.write_text("chr1:1000-1600,HEPG2\nchr1:2000-2600,0\n")
    np.testing.assert_array_equal(
        make_loader(path, genome, positive="HEPG2").load_all()["targets"], [[1], [0]]
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"positive": "K562", "classes": "A549"}, "positive and classes: give only one"),
        ({"label_column": 4}, "'label_column' goes with 'positive' or 'classes'"),
        ({"label_column": 4, "target_columns": 5}, "'label_column' goes with 'positive' or 'classes'"),
        ({"label_column": "4", "positive": "K562"}, "'label_column' is '4', expected a column"),
        ({"label_column": 0, "positive": "K562"}, "'label_column' is 0, expected a column"),
        ({"positive": "k562"}, r"no region has the label 'k562'\. Labels and counts: K562 2, A549 1"),
        ({"classes": "K562"}, r"labels \['A549'\] are not among the classes \['K562'\]"),
        ({"positive": "x", "label_column": 5}, "no region has the label 'x'"),
        ({"positive": "0.5", "label_column": 5}, "regions have no label, the first at line 4"),
        ({"target_columns": 4}, r"line 2: column 4 holds 'K562', expected a number"),
        ({"target_columns": "5-4"}, r"'target_columns' is '5-4', expected columns counted from 1"),
        ({"target_columns": 0}, "'target_columns' is 0"),
        ({"target_columns": "5-7"}, "none of the 3 usable rows has 7 columns"),
        ({"positive": "x", "label_column": 9}, "none of the 3 usable rows has 9 columns"),
        ({"classes": "K562,,A549"}, "'classes' is 'K562,,A549', expected labels separated by commas"),
        ({"positive": 1.5}, "'positive' is 1.5, expected labels"),
        ({"positive": True}, "'positive' is True, expected labels"),
        ({"classes": "K562,A549,K562"}, "'classes' is 'K562,A549,K562': name each label once"),
        ({"target_columns": []}, "'target_columns' names no column"),
        ({"label_column": True, "positive": "K562"}, "'label_column' is True, expected a column"),
        (
            {"width": 10**30},
            "'width' is 1000000000000000000000000000000, expected .* from 1 to 1,000,000,000",
        ),
    ],
)
def test_targets_that_are_not_there_are_one_clear_error(labelled, genome, arguments, message):
    with pytest.raises(ChromTransferError, match=message):
        make_loader(labelled, genome, **arguments)


def test_arguments_that_are_no_files_are_one_clear_error(labelled, genome):
    for intervals, fasta, message in (
        (f"{labelled}\0", genome, "'intervals_file' is .*, expected a file"),
        (labelled, "", "'fasta_file' is '', expected a file"),
        (labelled, "x" * 5000, "File name too long"),
        ("x" * 5000, genome, "File name too long"),
    ):
        with pytest.raises(ChromTransferError, match=message):
            make_loader(intervals, fasta)


def test_one_long_name_does_not_cost_its_length_in_every_row(folder, genome):
    path = folder / "long.bed"
    rows = [f"chr1\t{1000 + i}\t{1001 + i}\tr{i}" for i in range(2000)]
    path.write_text("\n".join([*rows, "chr1\t1500\t1600\t" + "x" * 50_000]) + "\n")
    tracemalloc.start()
    loader = make_loader(path, genome)
    assert loader.batch(slice(0, 2))["metadata"]["ranges"]["id"].tolist() == ["r0", "r1"]
    assert tracemalloc.get_traced_memory()[1] < 50_000_000  # as one array of texts: 400 MB
    tracemalloc.stop()
    assert len(loader[2000]["metadata"]["ranges"]["id"]) == 50_000


# --- FASTA ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sequences(folder, contigs) -> Path:
    one, two = contigs["chr1"], contigs["chr2"]
    backwards = one[4000:4701].translate(COMPLEMENT)[::-1]
    records = {
        "chr1:1000-1601 bedtools": one[1000:1601],
        "chr1:1001-1601": one[1000:1601],  # samtools
        "chr1:1001-1603": one[1000:1601],  # nobody's
        "peak::chr1:4000-4701(-)": backwards,
        "short": one[:599],
        "chr2:2000-2600(+)": two[2000:2600],  # only N
        "plain": two[:600].lower(),
    }
    path = folder / "sequences.fa"
    path.write_text("".join(f">{name}\n{text}\n" for name, text in records.items()))
    return path


def test_the_middle_of_each_record_is_read(sequences, contigs):
    loader = make("FastaDataloader", fasta_file=str(sequences))
    batch = loader.load_all(batch_size=4)
    assert loader.get_output_schema().compatible_with_batch(batch)
    one, two = contigs["chr1"], contigs["chr2"]
    middle = one[1000:1600]
    backwards = one[4000:4701].translate(COMPLEMENT)[::-1][50:650]
    for X, text in zip(batch["inputs"], [middle] * 3 + [backwards, two[2000:2600], two[:600]], strict=True):
        np.testing.assert_array_equal(X, encode_by_hand(text))
    ranges = batch["metadata"]["ranges"]
    table = pd.DataFrame({key: ranges[key] for key in ("chr", "start", "end", "id", "strand")})
    assert table.to_numpy().tolist() == [
        ["chr1", 1000, 1600, "chr1:1000-1601", "*"],
        ["chr1", 1000, 1600, "chr1:1001-1601", "*"],
        ["chr1:1001-1603", 0, 600, "chr1:1001-1603", "*"],
        ["chr1", 4051, 4651, "peak::chr1:4000-4701(-)", "-"],
        ["chr2", 2000, 2600, "chr2:2000-2600(+)", "+"],
        ["plain", 0, 600, "plain", "*"],
    ]
    assert batch["metadata"]["source_line"].tolist() == [1, 3, 5, 7, 11, 13]
    # The window of a minus strand is the reverse complement of that place in the genome.
    assert one[4051:4651].translate(COMPLEMENT)[::-1] == backwards


def test_short_and_unknown_records_are_named(sequences):
    from chromtransfer_plugin.kipoi import FastaDataloader

    with pytest.warns(ChromTransferWarning) as caught:
        FastaDataloader(sequences)
    texts = [str(warning.message) for warning in caught]
    assert texts == [
        f"{sequences}: 7 records read, 6 kept, 1 shorter than the window of 600 bp\n  line 9: short has 599 bp",
        f"{sequences}: predicted as NaN for want of any known base: 1\n  chr2:2000-2600(+)",
    ]


def test_whole_records_need_one_length(tmp_path):
    path = tmp_path / "x.fa"
    path.write_text(">a\nACGTA\n>b\nCCCCC\n")
    loader = make("FastaDataloader", fasta_file=str(path), width=None)
    np.testing.assert_array_equal(loader.load_all()["inputs"][0], encode_by_hand("ACGTA"))
    path.write_text(">a\nACGTA\n>b\nCCCC\n")
    with pytest.raises(ChromTransferError, match=r"record 'b' \(line 3\) has 4 bp and the first one 5 bp"):
        make("FastaDataloader", fasta_file=str(path), width=None)
    with pytest.raises(ChromTransferError, match=r"the longest has 5 bp\. Give a width: .*\"width\": 5"):
        make("FastaDataloader", fasta_file=str(path))
    with pytest.raises(ChromTransferError, match="'width' is 0"):
        make("FastaDataloader", fasta_file=str(path), width=0)
    with pytest.raises(ChromTransferError, match="'fasta_file' is missing"):
        make("FastaDataloader")


# --- VCF -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def vcf(folder, contigs) -> Path:
    one, two = contigs["chr1"], contigs["chr2"]
    other = "ACGTA"
    rows = [
        ("chr1", 1000, one[999], other[other.index(one[999]) + 1]),
        ("chr1", 3000, one[2999:3010], one[2999]),
        ("chr2", 1500, two[1499], f"{two[1499]}GATTACA,<DEL>,*,{other[other.index(two[1499]) + 1]}"),
        ("chr2", 100, two[99], "A" if two[99] != "A" else "C"),  # off the contig
        ("chr2", 4321, two[4320], other[other.index(two[4320]) + 1]),
    ]
    path = folder / "variants.vcf"
    lines = [f"{chrom}\t{pos}\t.\t{ref}\t{alt}\t.\t.\t.\n" for chrom, pos, ref, alt in rows]
    path.write_text("##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n" + "".join(lines))
    return path


def test_both_alleles_of_each_variant_follow_each_other(vcf, genome, contigs):
    loader = make("VariantDataloader", vcf_file=str(vcf), fasta_file=str(genome))
    assert len(loader) == 10
    batch = loader.load_all(batch_size=3)
    assert loader.get_output_schema().compatible_with_batch(batch)
    metadata = batch["metadata"]
    assert metadata["allele"].tolist() == ["ref", "alt"] * 5
    assert metadata["record"].tolist() == [1, 1, 2, 2, 3, 3, 3, 3, 5, 5]
    ranges = metadata["ranges"]
    assert ranges["id"][::2].tolist() == [
        f"{chrom}:{pos}:{ref}:{alt}"
        for chrom, pos, _, ref, alts, *_ in map(str.split, vcf.read_text().splitlines()[2:])
        for alt in alts.split(",")
        if alt[0] in "ACGT" and pos != "100"
    ]
    table = read_variants(vcf, Genome(genome)).table
    for i, allele in enumerate(("ref", "alt")):
        codes = allele_windows(Genome(genome), table, allele)
        np.testing.assert_array_equal(
            batch["inputs"][i::2], np.eye(5, 4, dtype=np.float32)[codes].transpose(0, 2, 1)
        )
        only = make("VariantDataloader", vcf_file=str(vcf), fasta_file=str(genome), allele=allele).load_all()
        np.testing.assert_array_equal(only["inputs"], batch["inputs"][i::2])
        assert set(only["metadata"]["allele"]) == {allele}
    for X, chrom, start, end in zip(
        batch["inputs"][::2], ranges["chr"][::2], ranges["start"][::2], ranges["end"][::2], strict=True
    ):
        np.testing.assert_array_equal(X, encode_by_hand(contigs[chrom][start:end]))
    np.testing.assert_array_equal(ranges["start"][::2], ranges["start"][1::2])
    first = (batch["inputs"][0] != batch["inputs"][1]).any(axis=0)
    assert np.flatnonzero(first).tolist() == [299]


@pytest.mark.parametrize("allele", ["REF", None, ["ref"], 1])
def test_an_allele_is_ref_alt_or_both(vcf, genome, allele):
    with pytest.raises(ChromTransferError, match=r"'allele' is .*, expected one of ref, alt, both"):
        make("VariantDataloader", vcf_file=vcf, fasta_file=genome, allele=allele)


def test_variants_that_are_left_out_are_listed(vcf, genome):
    from chromtransfer_plugin.kipoi import VariantDataloader

    with pytest.warns(ChromTransferWarning) as caught:
        VariantDataloader(vcf, genome)
    text = str(caught[0].message)
    assert "5 records with 8 alleles read, 5 kept, 3 dropped" in text
    assert "\n  record 3: ALT is symbolic or a breakend: chr2:1500:" in text
    assert "\n  record 4: window reaches off the contig: chr2:100:" in text
    for arguments, message in (
        ({"allele": "REF"}, "'allele' is 'REF', expected one of ref, alt, both"),
        ({"width": "600"}, "'width' is '600'"),
    ):
        with pytest.raises(ChromTransferError, match=message):
            VariantDataloader(vcf, genome, **arguments)
    with pytest.raises(ChromTransferError, match="'vcf_file' is missing"):
        VariantDataloader(fasta_file=genome)


@pytest.mark.parametrize("name", ["FastaDataloader", "VariantDataloader"])
def test_batches_do_not_depend_on_size_workers_or_pickling(name, vcf, genome, sequences):
    files = {"fasta_file": str(sequences)}
    if name == "VariantDataloader":
        files = {"vcf_file": str(vcf), "fasta_file": str(genome)}
    loader = make(name, **files)
    whole = loader.load_all(batch_size=100)
    for copy, options in (
        (loader, {"batch_size": 1}),
        (loader, {"batch_size": 4, "num_workers": 2}),
        (pickle.loads(pickle.dumps(loader)), {"batch_size": 5}),
    ):
        other = copy.load_all(**options)
        np.testing.assert_array_equal(other["inputs"], whole["inputs"])
        np.testing.assert_array_equal(other["metadata"]["ranges"]["id"], whole["metadata"]["ranges"]["id"])
    np.testing.assert_array_equal(loader[-1]["inputs"], whole["inputs"][-1])
    assert loader[-1]["metadata"]["ranges"].start == whole["metadata"]["ranges"]["start"][-1]
    with pytest.raises(IndexError):
        loader[len(loader)]


# --- the executable ------------------------------------------------------------------------------------


def test_predict_with_a_fasta(exported, checkpoint, sequences, home, tmp_path):
    arguments = ["--dataloader", "chromtransfer_plugin.kipoi.FastaDataloader", "--keep_metadata"]
    files = ["--dataloader_args", json.dumps({"fasta_file": str(sequences)})]
    result = run_kipoi(
        home, "predict", exported, "--source=dir", *arguments, *files, "-o", tmp_path / "out.tsv"
    )
    assert result.returncode == 0, result.stderr
    assert "line 9: short has 599 bp" in result.stderr
    table = pd.read_csv(tmp_path / "out.tsv", sep="\t")
    X = make("FastaDataloader", fasta_file=str(sequences)).load_all()["inputs"]
    wanted = direct(checkpoint, X)[:, 0]
    assert np.isnan(wanted).sum() == 1
    np.testing.assert_allclose(table["preds/0"], wanted, rtol=0, atol=1e-6, equal_nan=True)
    assert table["metadata/ranges/start"].tolist() == [1000, 1000, 0, 4051, 2000, 0]


def test_predict_with_a_vcf(exported, checkpoint, vcf, genome, home, tmp_path):
    """Arguments as key=value; all outputs that Kipoi can write."""
    arguments = ["--dataloader", "chromtransfer_plugin.kipoi.VariantDataloader", "--keep_metadata"]
    files = ["--dataloader_args", f"vcf_file={vcf}", f"fasta_file={genome}", "allele=both"]
    outputs = [tmp_path / f"out.{suffix}" for suffix in ("tsv", "h5", "parquet")]
    result = run_kipoi(
        home,
        "predict",
        exported,
        "--source=dir",
        *arguments,
        *files,
        "--batch_size",
        "3",
        "-n",
        "1",
        "-o",
        *outputs,
    )
    assert result.returncode == 0, result.stderr
    variants = read_variants(vcf, Genome(genome)).table
    wanted = np.empty((10, 1))
    for i, allele in enumerate(("ref", "alt")):
        wanted[i::2] = direct(checkpoint, allele_windows(Genome(genome), variants, allele))
    assert np.abs(wanted[::2] - wanted[1::2]).min() > 1e-5  # else the comparison says little
    for path in outputs[::2]:
        table = pd.read_csv(path, sep="\t") if path.suffix == ".tsv" else pd.read_parquet(path)
        np.testing.assert_allclose(table["preds/0"], wanted[:, 0], rtol=0, atol=1e-6)
        assert table["metadata/allele"].tolist() == ["ref", "alt"] * 5
    with h5py.File(outputs[1]) as file:
        np.testing.assert_allclose(file["preds"], wanted, rtol=0, atol=1e-6)
        assert file["metadata/ranges/id"].asstr()[3].startswith("chr1:3000:")


def test_predict_keeps_targets_on_request(exported, checkpoint, labelled, genome, home, tmp_path):
    files = {"intervals_file": str(labelled), "fasta_file": str(genome), "positive": "K562"}
    command = ["predict", exported, "--source=dir", "--dataloader_args", json.dumps(files)]
    result = run_kipoi(home, *command, "--keep_inputs", "-o", tmp_path / "out.h5")
    assert result.returncode == 0, result.stderr
    assert "not compatible" not in result.stdout + result.stderr
    with h5py.File(tmp_path / "out.h5") as file:
        np.testing.assert_array_equal(file["targets"], [[1], [0], [1]])
        np.testing.assert_allclose(file["preds"], direct(checkpoint, file["inputs"][:]), rtol=0, atol=1e-6)


def test_bad_input_of_a_chosen_dataloader_is_one_error_line(exported, genome, home, tmp_path):
    bad = tmp_path / "bad.vcf"
    bad.write_text("##fileformat=VCFv4.2\nchr1\t5\t.\tA\tC\t.\t.\t.\n")
    arguments = ["--dataloader", "chromtransfer_plugin.kipoi.VariantDataloader"]
    files = ["--dataloader_args", f"vcf_file={bad}", f"fasta_file={genome}"]
    result = run_kipoi(
        home, "predict", exported, "--source=dir", *arguments, *files, "-o", tmp_path / "out.tsv"
    )
    assert result.returncode == 1
    assert f"\nError: {bad}: is not a readable VCF or BCF file" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out.tsv").exists()
