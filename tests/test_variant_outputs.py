"""The files of `chromtransfer variants`: INFO, header, order, index, and that records stay as they were."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pysam
import pytest
from test_variant_run import score
from variant_cases import HEADER, OTHER, Case, read_tsv, world, write_cases  # noqa: F401 - world is a fixture

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.variants import sorting
from chromtransfer_plugin.variants.info import DIGITS, make_header, number_texts, with_info
from chromtransfer_plugin.variants.look import Look
from chromtransfer_plugin.variants.outputs import VcfWriter

BCFTOOLS = shutil.which("bcftools")
needs_bcftools = pytest.mark.skipif(BCFTOOLS is None, reason="bcftools is not installed")
FACTS = {
    "version": "1", "models": [], "genome": "g", "window": 600, "strand": "both", "shifts": [0], "edges": "pad",
    "swap": False, "null": None,
}  # fmt: skip


def bcftools(*arguments: str | Path) -> str:
    result = subprocess.run([BCFTOOLS, *map(str, arguments)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return result.stdout


def lines_of(path: Path) -> tuple[list[str], list[str]]:
    """Header and records."""
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    lines = text.removesuffix("\n").split("\n")
    return [line for line in lines if line[0] == "#"], [line for line in lines if line[0] != "#"]


def without_ours(line: str) -> str:
    """The record with its INFO up to our fields."""
    parts = line.split("\t")
    parts[7] = re.sub(r"(^|;)CT_STATUS=.*", "", parts[7]) or "."
    return "\t".join(parts)


# --- records -----------------------------------------------------------------------------------------------


def test_records_stay_as_they_were(world, tmp_path):  # noqa: F811
    score(world, tmp_path / "o.vcf")
    header, records = lines_of(tmp_path / "o.vcf")
    assert [without_ours(line) for line in records] == [
        case._replace(info=case.info.removesuffix(";")).line for case in world.cases
    ]
    ours = ("##chromtransfer", "##INFO=<ID=CT_", "##contig=<ID=chrUn>")
    assert [line for line in header if not line.startswith(ours)] == HEADER
    first = records[0].split("\t")[7]
    assert first.startswith("DP=7;DB;NOTE=a,b;CT_STATUS=scored;CT_FLAGS=edge;CT_one_REF=0.")
    assert records[1].split("\t")[7].startswith("CT_STATUS=scored;CT_FLAGS=.;")
    assert records[4].split("\t")[7] == "DP=2;CT_STATUS=no_alt;CT_FLAGS=."
    fields = ("REF", "ALT", "DIFF", "LOGODDS")
    numbers = [f"CT_{name}_{field}" for name in ("one", "multi_A549", "multi_K562") for field in fields]
    names = ["CT_STATUS", "CT_FLAGS", *numbers]
    assert [item.partition("=")[0] for item in records[1].split("\t")[7].split(";")] == names
    assert re.search(
        r"CT_STATUS=symbolic,scored,symbolic;CT_FLAGS=.,[^,]+,.;CT_one_REF=.,0\.\d+,.;", records[5]
    )


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        (".", "CT_X=1"),
        ("DB", "DB;CT_X=1"),
        ("DB;", "DB;CT_X=1"),
        ("A=CT_X;CT_X=0;CT_OLD=2;CT_OTHER=3;B=1,2", "A=CT_X;CT_OTHER=3;B=1,2;CT_X=1"),
        ("CT_X=0", "CT_X=1"),
    ],
)
def test_info_is_appended_and_ours_of_an_earlier_run_replaced(info, expected):
    def line(info: str) -> str:
        return "\t".join(["chr1", "1", ".", "A", "C", ".", ".", info, "GT", "0/1"])

    assert with_info(line(info), "CT_X=1", frozenset(["CT_X", "CT_OLD"])) == line(expected)


def test_a_run_on_its_own_output_changes_nothing(world, tmp_path):  # noqa: F811
    score(world, tmp_path / "a.vcf")
    score(world, tmp_path / "b.vcf", vcf=tmp_path / "a.vcf")
    assert (tmp_path / "b.vcf").read_bytes() == (tmp_path / "a.vcf").read_bytes()
    # Fields of other models go, too.
    score(world, tmp_path / "c.vcf", vcf=tmp_path / "a.vcf", models=f"new={world.models[0]}")
    score(world, tmp_path / "d.vcf", models=f"new={world.models[0]}")
    assert (tmp_path / "c.vcf").read_bytes() == (tmp_path / "d.vcf").read_bytes()
    assert b"CT_one" not in (tmp_path / "c.vcf").read_bytes()


def test_equal_runs_give_equal_bytes(world, tmp_path):  # noqa: F811
    names = ["o.vcf.gz", "o.vcf.gz.tbi", "o.tsv.gz", "o.parquet", "o.vcf.gz.dropped.tsv"]
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        score(world, [folder / name for name in ("o.vcf.gz", "o.tsv.gz", "o.parquet")])
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_bcf(world, tmp_path):  # noqa: F811
    # Without what BCF has no place for: a trailing ;, an undeclared contig, and INFO/END, which htslib adds to <DEL>.
    cases = [
        case._replace(info=case.info.removesuffix(";")) for case in world.cases[:-1] if "<" not in case.alt
    ]
    vcf = write_cases(tmp_path / "a.vcf", cases)
    with (
        pysam.VariantFile(str(vcf)) as given,
        pysam.VariantFile(str(tmp_path / "a.bcf"), "wb", header=given.header) as bcf,
    ):
        for record in given:
            bcf.write(record)
    for name in ("vcf", "bcf"):
        score(world, [tmp_path / f"{name}.tsv", tmp_path / f"{name}.vcf"], vcf=tmp_path / f"a.{name}")
    from_vcf, from_bcf = (read_tsv(tmp_path / f"{name}.tsv") for name in ("vcf", "bcf"))
    for row, same in zip(from_vcf, from_bcf, strict=True):
        assert int(row.pop("line")) == int(same.pop("line")) + len(HEADER)
        assert row == same
    for line, other in zip(lines_of(tmp_path / "vcf.vcf")[1], lines_of(tmp_path / "bcf.vcf")[1], strict=True):
        assert line.replace("31.50", "31.5") == other


# --- as others read them -------------------------------------------------------------------------------------


def test_pysam_knows_every_field(world, tmp_path):  # noqa: F811
    score(world, tmp_path / "o.vcf.gz", shifts=[50])
    with pysam.VariantFile(str(tmp_path / "o.vcf.gz")) as vcf:
        info = vcf.header.info
        kinds = {name: (info[name].type, info[name].number) for name in info if name.startswith("CT_")}
        assert kinds.pop("CT_STATUS") == kinds.pop("CT_FLAGS") == ("String", "A")
        assert {name for name, kind in kinds.items() if kind == ("Integer", "A")} == {
            f"CT_{column}_SHIFT" for column in ("one", "multi_A549", "multi_K562")
        }
        assert set(kinds.values()) == {("Integer", "A"), ("Float", "A")}
        assert info["CT_one_DIFF"].description == "one: P(ALT) - P(REF), 600 bp window"
        record = next(vcf.fetch("chr1", 1099, 1100))
        assert record.info["CT_STATUS"] == ("symbolic", "scored", "symbolic")
        assert record.info["CT_one_REF"][0] is None
        assert isinstance(record.info["CT_one_SHIFT"][1], int)
        assert record.samples["NA1"]["GT"] == (0, 1)


@needs_bcftools
def test_bcftools_reads_splits_and_queries_it(world, tmp_path):  # noqa: F811
    out = tmp_path / "o.vcf.gz"
    score(world, out)
    _, records = lines_of(out)
    shown = bcftools("view", "-H", out).splitlines()
    assert shown == [line.replace("31.50", "31.5") for line in records]
    assert bcftools("view", "-H", "-r", "chr2", out).count("\n") == 5
    (tmp_path / "o.bcf").write_bytes(b"")
    bcftools("view", "-Ob", "-o", tmp_path / "o.bcf", out)
    assert bcftools("view", "-H", tmp_path / "o.bcf").splitlines() == shown
    split = bcftools("query", "-f", "%ALT %CT_STATUS %CT_one_REF\n", "-r", "chr1:800", out).split()
    assert split[1] == "scored,star"
    subprocess.run(
        [BCFTOOLS, "norm", "-m-", "-o", str(tmp_path / "n.vcf"), str(out)], check=True, capture_output=True
    )
    status = bcftools("query", "-f", "%CT_STATUS\n", tmp_path / "n.vcf").split()
    assert status == [status for case in world.cases for status in case.statuses]


# --- header ---------------------------------------------------------------------------------------------------


def made_header(given, used=("chr2",)):
    return make_header([*given, "#CHROM"], list(used), {"chr1": 60, "chr2": 70}, [], [], FACTS)


def test_contigs_are_declared():
    header = made_header(["##fileformat=VCFv4.2"], ["chr2", "chr7"])
    assert header.contigs == ["chr1", "chr2", "chr7"]
    assert header.lines[1:4] == [
        "##contig=<ID=chr1,length=60>",
        "##contig=<ID=chr2,length=70>",
        "##contig=<ID=chr7>",
    ]
    header = made_header(["##contig=<length=9,ID=chrX>", "##contig=<ID=chr2>"], ["chr2", "chr7"])
    assert header.contigs == ["chrX", "chr2", "chr7"]
    assert [line for line in header.lines if line.startswith("##contig")][2:] == ["##contig=<ID=chr7>"]


def test_only_our_lines_of_an_earlier_run_go():
    ours = '##INFO=<ID=CT_b_P,Number=A,Type=Float,Description="x",Source="chromtransfer",Version="0">'
    other = '##INFO=<ID=CT_SCAN,Number=1,Type=Float,Description="x">'
    look_like_ours = [
        '##INFO=<ID=DP,Number=1,Type=Integer,Description="x",Source="chromtransfer">',
        "##chromtransfers=2",
    ]
    header = made_header([ours, other, *look_like_ours, "##chromtransferStrand=forward"])
    assert header.replaced == {"CT_b_P", "CT_STATUS", "CT_FLAGS"}
    assert ours not in header.lines
    assert {other, *look_like_ours} <= set(header.lines)
    assert [line for line in header.lines if "Strand" in line] == ["##chromtransferStrand=both"]
    assert header.lines[-1] == "#CHROM"


# --- order and index --------------------------------------------------------------------------------------------


def test_unsorted_records_come_sorted(world, tmp_path, monkeypatch):  # noqa: F811
    text = world.text["chr1"]
    cases = [*world.cases, Case("chr1", 900, text[899], OTHER[text[899]], ("scored",), name="later")]
    order = np.random.default_rng(0).permutation(len(cases))
    mixed = write_cases(tmp_path / "a.vcf", [cases[i] for i in order])
    monkeypatch.setattr(sorting, "RUN_BYTES", 300)
    monkeypatch.setattr(sorting, "_MOST_FILES", 2)
    score(world, [tmp_path / "o.vcf.gz", tmp_path / "o.vcf", tmp_path / "o.tsv"], vcf=mixed)
    rank = {"chr1": 0, "chr2": 1, "chrUn": 2}
    expected = sorted((cases[i] for i in order), key=lambda case: (rank[case.chrom], case.pos))
    for name in ("o.vcf.gz", "o.vcf"):
        records = lines_of(tmp_path / name)[1]
        assert [without_ours(line) for line in records] == [
            case._replace(info=case.info.removesuffix(";")).line for case in expected
        ]
    with pysam.TabixFile(str(tmp_path / "o.vcf.gz")) as index:
        assert [line.split("\t")[1] for line in index.fetch("chr2")] == [
            "500",
            "2500",
            "4000",
            "4500",
            "6001",
        ]
    # Tables stay in the order of the input.
    numbers = [int(row["line"]) for row in read_tsv(tmp_path / "o.tsv")]
    assert numbers == sorted(numbers)
    # The same scores as in order.
    score(world, tmp_path / "s.vcf", vcf=write_cases(tmp_path / "s.in.vcf", expected))
    assert sorted(lines_of(tmp_path / "s.vcf")[1]) == sorted(lines_of(tmp_path / "o.vcf")[1])


def test_sorter_keeps_the_order_of_equal_places(tmp_path, monkeypatch):
    monkeypatch.setattr(sorting, "RUN_BYTES", 40)
    monkeypatch.setattr(sorting, "_MOST_FILES", 3)
    rng = np.random.default_rng(1)
    lines = [(int(rng.integers(2)), int(rng.integers(4)), f"line {i}\twith a tab") for i in range(200)]
    sorter = sorting.LineSorter(tmp_path / "runs")
    for start in range(0, 200, 7):
        sorter.add(lines[start : start + 7])
    assert len(list((tmp_path / "runs").iterdir())) > 9
    assert list(sorter.lines()) == [line for *_, line in sorted(lines, key=lambda keyed: keyed[:2])]


def test_what_counts_as_sorted():
    def look(*places):
        look = Look()
        for start in range(0, len(places), 2):
            look.add(block_of(places[start : start + 2]))
        return look

    assert look(("b", 1), ("b", 1), ("b", 5), ("a", 2)).is_sorted
    assert not look(("b", 2), ("b", 1)).is_sorted
    assert not look(("b", 1), ("b", 2), ("b", 1)).is_sorted
    assert not look(("b", 1), ("a", 2), ("b", 3)).is_sorted


def block_of(places):
    import pandas as pd

    from chromtransfer_plugin.variants.records import Block

    chroms, positions = zip(*places, strict=True)
    table = pd.DataFrame({"chrom": chroms, "pos": positions, "ref": "A", "allele": 0, "status": np.int8(0)})
    return Block([""] * len(places), np.arange(len(places)), table, [])


def test_positions_that_only_a_csi_can_hold(world, tmp_path):  # noqa: F811
    far = Case("chrUn", 600_000_000, "A", "C", ("contig",))
    out = tmp_path / "o.vcf.gz"
    score(world, out)
    assert out.with_name("o.vcf.gz.tbi").exists()
    vcf = write_cases(tmp_path / "a.vcf", [*world.cases, far])
    assert tmp_path / "o.vcf.gz.csi" in score(world, out, vcf=vcf).files
    assert not out.with_name("o.vcf.gz.tbi").exists()  # of the earlier file
    with pysam.VariantFile(str(out)) as found:
        assert [record.pos for record in found.fetch("chrUn", 599_000_000)] == [600_000_000]


def test_endings_may_be_in_capitals(world, tmp_path):  # noqa: F811
    score(world, [tmp_path / name for name in ("o.VCF.GZ", "o.tsv.GZ", "o.tsv")])
    with pysam.BGZFile(str(tmp_path / "o.VCF.GZ")) as found:
        assert found.read().startswith(b"##fileformat=VCF")
    assert gzip.decompress((tmp_path / "o.tsv.GZ").read_bytes()) == (tmp_path / "o.tsv").read_bytes()


@pytest.mark.parametrize("info", ["END=600000000", "SVLEN=-600000000"])
def test_ends_that_only_a_csi_can_hold(world, tmp_path, info, capfd):  # noqa: F811
    case = Case("chr1", 3000, world.text["chr1"][2999], "<DEL>", ("symbolic",), info)
    vcf = write_cases(tmp_path / "a.vcf", [world.cases[1], case])
    out = tmp_path / "o.vcf.gz"
    assert score(world, out, vcf=vcf).files[:2] == [out, tmp_path / "o.vcf.gz.csi"]
    assert capfd.readouterr().err == ""
    with pysam.VariantFile(str(out)) as found:
        assert [record.pos for record in found.fetch("chr1", 2990, 3010)] == [3000]


def test_ends_that_no_index_can_hold_are_an_error_that_names_the_file(world, tmp_path, capfd):  # noqa: F811
    vcf = write_cases(tmp_path / "a.vcf", [world.cases[1]._replace(info=f"END={10**13}")])
    with pytest.raises(
        ChromTransferError, match=rf"^{tmp_path}/o\.vcf\.gz: cannot be indexed \(a position, END"
    ):
        score(world, tmp_path / "o.vcf.gz", vcf=vcf)
    assert [path.name for path in tmp_path.glob("*") if path.name != "a.vcf"] == [".o.vcf.gz.partial"]
    assert capfd.readouterr().err == ""


def test_htslib_is_silent_about_odd_positions(world, tmp_path, capfd):  # noqa: F811
    cases = [Case("chr1", 0, "A", "C", ("position",)), world.cases[1]._replace(info="END=3")]
    score(world, tmp_path / "o.vcf.gz", vcf=write_cases(tmp_path / "a.vcf", cases))
    assert capfd.readouterr().err == ""


def test_an_output_that_fails_leaves_the_old_ones(world, tmp_path, monkeypatch):  # noqa: F811
    outs = [tmp_path / "o.vcf.gz", tmp_path / "o.tsv"]
    for out in outs:
        out.write_text("old\n")

    def fail(self):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(VcfWriter, "finish", fail)
    with pytest.raises(ValueError, match="no room left on the disk"):
        score(world, outs)
    assert [out.read_text() for out in outs] == ["old\n", "old\n"]
    assert not list(tmp_path.glob(".tmp-*"))


@pytest.mark.parametrize(
    ("name", "step", "room"),
    [("o.vcf", "_write", 500), ("o.vcf.gz", "_write", 500), ("o.vcf", "_score", 100)],
)
def test_a_full_disk_is_an_error_that_names_a_file(world, tmp_path, name, step, room):  # noqa: F811
    code = """if True:
        import resource, signal, sys
        from chromtransfer_plugin.errors import ChromTransferError
        from chromtransfer_plugin.variants import run
        vcf, out, genome, model, step, room = sys.argv[1:]
        original = getattr(run._Run, step)
        def limited(*arguments):
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(room),) * 2)
            return original(*arguments)
        setattr(run._Run, step, limited)
        try:
            run.score_variants(vcf, out, genome=genome, models=model, null="none", device="cpu")
        except ChromTransferError as error:
            print(error)
    """
    arguments = [world.vcf, tmp_path / name, world.genome, world.models[0], step, room]
    result = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True
    )
    assert re.match(rf"\S*{name}\S*: (cannot be written|not written, no room left)", result.stdout), (
        result.stderr
    )
    assert not (tmp_path / name).exists()
    assert result.stderr.count("\n") <= 1  # nothing but the bar


# --- numbers ----------------------------------------------------------------------------------------------------


def test_numbers_have_six_digits():
    rng = np.random.default_rng(0)
    exponents = rng.uniform(-40, 38, 3000)
    values = np.r_[
        rng.normal(size=3000), rng.uniform(size=3000), 10**exponents, 0, -0.0, 1, 0.5, 1e-3, 123456.5, 999999.5, 0.1
    ].astype(np.float32)  # fmt: skip
    texts = number_texts(values, np.ones(len(values), dtype=bool)).to_pylist()
    assert texts == [f"{value:.{DIGITS}g}" for value in values.tolist()]
    assert number_texts(np.float32([np.nan, 2, 0.25]), np.array([True, False, True])).to_pylist() == [
        ".",
        ".",
        "0.25",
    ]
    assert number_texts(np.int64([-50, 7]), np.array([True, False])).to_pylist() == ["-50", "."]
