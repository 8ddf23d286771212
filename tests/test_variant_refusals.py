"""What `chromtransfer variants` refuses, before anything is written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from test_variant_run import score, snv_lines
from variant_cases import HEADER, OTHER, read_tsv, world, write_cases  # noqa: F401 - world is a fixture

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.variants import run


def refused(world, tmp_path, match, out="o.tsv", **options):  # noqa: F811
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ChromTransferError, match=match):
        score(world, tmp_path / out if isinstance(out, str) else out, **options)
    assert sorted(tmp_path.rglob("*")) == before


def test_contigs_with_other_names_are_refused(world, tmp_path):  # noqa: F811
    vcf = write_cases(tmp_path / "a.vcf", snv_lines(world, "1"), header=[HEADER[0], HEADER[-1]])
    refused(
        world, tmp_path, "none of its contigs is in the genome .* says `1`, the genome says `chr1`", vcf=vcf
    )


def test_another_assembly_is_refused(world, tmp_path):  # noqa: F811
    cases = [case._replace(ref=OTHER[case.ref], alt=case.ref) for case in snv_lines(world)]
    vcf = write_cases(tmp_path / "a.vcf", cases)
    refused(world, tmp_path, "REF is not what the genome .* in all 2 alleles", vcf=vcf)
    # Unless that is what is expected.
    assert score(world, tmp_path / "o.tsv", vcf=vcf, swap=True).counts == {"scored": 2}
    assert {row["flags"] for row in read_tsv(tmp_path / "o.tsv")} == {"swapped"}


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"out": "o.txt"}, r"the name does not tell a format. End it in .vcf, .vcf.gz, .tsv, .tsv.gz, .parquet"),
        ({"out": []}, "no output given"),
        ({"out": "no/o.tsv"}, "does not exist"),
        ({"null": "genom"}, "null is 'genom', expected one of genome, shuffled, none, or a VCF"),
        ({"null_regions": "x.bed"}, "null-regions say where"),
        ({"strand": "plus"}, "strand is 'plus', expected one of both, forward"),
        ({"edges": "keep"}, "edges is 'keep'"),
        ({"shifts": [300]}, "shift is 300, expected whole bp of less than half the window, 300"),
        ({"shifts": [1.5]}, "shift is 1.5"),
        ({"batch_size": 0}, "batch_size is 0, expected a whole number from 1 to 4294967295"),
        ({"batch_size": 1 << 64}, "batch_size is 18446744073709551616"),
        ({"vcf": "-"}, "Save standard input to a file first"),
        ({"null_size": 0}, "null_size is 0"),
        ({"width": 0}, "width is 0"),
        ({"top": -1}, "top is -1"),
        ({"figures": "f"}, "top is 0"),
        ({"models": ()}, "no model given"),
        ({"device": "gpu"}, "device 'gpu'"),
    ],
)  # fmt: skip
def test_arguments_without_a_meaning_are_refused(world, tmp_path, options, match):  # noqa: F811
    refused(world, tmp_path, match, **options)


def test_outputs_are_no_inputs_and_differ(world, tmp_path):  # noqa: F811
    vcf = write_cases(tmp_path / "a.vcf", snv_lines(world))
    refused(world, tmp_path, "is an input of this run", out="a.vcf", vcf=vcf)
    same = [tmp_path / "o.tsv", tmp_path / "o.tsv"]
    refused(world, tmp_path, "would be written twice", out=same, vcf=vcf)
    refused(world, tmp_path, "is an output and the cache", vcf=vcf, cache=tmp_path / "o.tsv")
    other_name = tmp_path / ".." / tmp_path.name / "o.tsv"
    refused(world, tmp_path, "would be written twice", out=[tmp_path / "o.tsv", other_name], vcf=vcf)
    refused(world, tmp_path, "is an output and the cache", vcf=vcf, cache=other_name)
    (tmp_path / "figures").mkdir()
    for out, figures in (("o.tsv", "o.tsv"), ("figures/o.tsv", "figures")):
        refused(
            world,
            tmp_path,
            "an output or the cache lies in the folder of the figures",
            out,
            vcf=vcf,
            figures=tmp_path / figures,
            top=1,
        )


def test_columns_that_a_vcf_cannot_tell_apart_are_refused(world, tmp_path):  # noqa: F811
    names = [f"{name}={world.folder / 'one'}" for name in ("a-b", "a b")]
    refused(world, tmp_path, "'a-b' and 'a b' are both called CT_a_b in a VCF", out="o.vcf", models=names)
    assert score(world, tmp_path / "o.tsv", models=names).columns == ["a-b", "a b"]


def test_a_pipe_is_refused(world, tmp_path):  # noqa: F811
    os.mkfifo(tmp_path / "pipe")
    refused(world, tmp_path, "is no regular file", vcf=tmp_path / "pipe")


def test_an_input_that_changes_meanwhile_is_refused(world, tmp_path, monkeypatch):  # noqa: F811
    vcf = write_cases(tmp_path / "a.vcf", snv_lines(world))
    original = run._Run._numbers

    def change(self, table):
        write_cases(Path(vcf), snv_lines(world)[:1])
        return original(self, table)

    monkeypatch.setattr(run._Run, "_numbers", change)
    with pytest.raises(ChromTransferError, match="changed while it was read"):
        score(world, tmp_path / "o.vcf.gz", vcf=vcf)
    assert not (tmp_path / "o.vcf.gz").exists()
