"""Any VCF, however bad: an error message or every line accounted for, and what is kept is readable."""

from __future__ import annotations

import gzip
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pysam
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vcf_cases import COLUMNS, repetitive, write_genome

from chromtransfer_plugin.cli import main
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.variants import read_variants
from chromtransfer_plugin.variants.records import VariantSource
from chromtransfer_plugin.variants.statuses import STATUSES, Flag

BCFTOOLS = shutil.which("bcftools")
steady = settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)


@pytest.fixture(scope="module")
def genome(tmp_path_factory) -> Genome:
    folder = tmp_path_factory.mktemp("genome")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHROMTRANSFER_CACHE", str(folder / "cache"))
        text = repetitive(np.random.default_rng(0), 400)
        return write_genome(folder / "g.fa", chr1=text[:200] + "NN" + text[200:], chr2="ACGTTGCAAAAC")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("vcf")


# --- what files are made of ------------------------------------------------------------------------------

# Any text a file of UTF-8 can hold on one line, control characters and spaces that look like line ends among it.
anything = st.text(
    st.characters(exclude_characters="\n", exclude_categories=["Cs"]) | st.sampled_from("\t\r ,;:=<>\"'\\.*#\0\x85\u2028"),
    max_size=12,
)  # fmt: skip
bases = st.text("ACGTacgt", min_size=1, max_size=6) | st.sampled_from("ACGT")
odd_alleles = st.sampled_from(
    ["*", ".", "<DEL>", "<*>", "N", "AN", "G]chr1:5]", "[chr2:3[A", ".A", "A.", "", "<A,B>", "a c", "é"]
)
alts = st.lists(bases | bases | odd_alleles, min_size=1, max_size=3).map(",".join)
ODD = {
    0: st.sampled_from(["1", "chrUn", "", "chr 1", "<c>", 'c,"d', "HLA-A*01:01", "=", "#c"]),
    1: st.sampled_from(["0", "-1", "007", "2147483647", "2147483648", "9" * 25, "1e3", " 5", "5 ", "٣", ".", "12x", "411"]),
    2: st.sampled_from(["rs1", "a;b", ""]),
    3: bases | odd_alleles,
    4: alts,
    5: st.sampled_from(["1", "3.5e7", "x", "", "nan"]),
    6: st.sampled_from(["PASS", "q1;q2", "", ";", "0"]),
    7: st.sampled_from(["DP=3", "DP=x", "XX", "END=7", "AF=1,2;DP=3", "=", ";;", "DP=1;DP=2", "a b=c d", "DP=99999999999"]),
}  # fmt: skip
formats = st.sampled_from(["GT", "GT", "GT", "GT:DP", "", "XX", "GT:GT", "."])
samples = st.sampled_from(["0/1", "0/1", "1|1", "./.", ".", "1|1:3", "0/1:7:8", "x", "", "./.", "9/9"])


@st.composite
def records(draw, genome: Genome, n_samples: int):
    """A record that fits the genome, with up to two columns changed, and seldom one too few or too many."""
    chrom = draw(st.sampled_from(["chr1", "chr1", "chr1", "chr2"]))
    start = draw(st.integers(0, genome.contigs[chrom] - 1))
    size = draw(st.sampled_from([1, 1, 1, 2, 6]))
    ref = genome.sequence(chrom, start, min(start + size, genome.contigs[chrom]))
    alt = draw(alts) if draw(st.booleans()) else ref[0] + draw(bases)
    fields = [chrom, str(start + 1), ".", ref, alt, ".", ".", "."]
    for column in draw(st.lists(st.sampled_from(sorted(ODD)), max_size=2)):
        fields[column] = draw(anything if draw(st.integers(0, 7)) == 5 else ODD[column])
    if n_samples:
        fields += [draw(formats), *(draw(samples) for _ in range(n_samples))]
    change = draw(st.integers(1, 30))
    if change == 7:
        del fields[draw(st.integers(0, len(fields) - 1))]
    elif change == 8:
        fields.insert(draw(st.integers(0, len(fields))), draw(anything))
    return "\t".join(fields)


META = [
    "##contig=<ID=chr1,length=402>",
    "##contig=<ID=chr2>",
    '##INFO=<ID=DP,Number=1,Type=Integer,Description="d">',
    '##INFO=<ID=AF,Number=A,Type=Float,Description="é, \\"a\\"">',
    '##FORMAT=<ID=GT,Number=1,Type=String,Description="g">',
    '##FILTER=<ID=q1,Description="f">',
    "##source=x",
]
BAD_META = [
    "##INFO=<ID=DP",
    "##",
    "#",
    "##contig=<length=3>",
    "",
    "##x=<>",
    "##INFO=<ID=DP,Number=Q,Type=Who>",
]


NO_RECORD = st.sampled_from(["", " ", *META])
NAMES = {"": 0, "\tFORMAT": 0, "\tFORMAT\tone": 1, "\tFORMAT\tone\ttwo": 2}


@st.composite
def files(draw, genome: Genome):
    """Text of a file, and how it is packed."""
    names = draw(st.sampled_from(list(NAMES)))
    lines = ["##fileformat=VCFv4.2", *draw(st.lists(st.sampled_from(META), unique=True)), COLUMNS + names]
    change = draw(st.integers(0, 15))
    if change == 7:
        lines.insert(draw(st.integers(0, len(lines))), draw(st.sampled_from(BAD_META) | anything))
    elif change == 8:
        lines[draw(st.sampled_from([0, -1]))] += draw(st.sampled_from(["\tone\tone", "x", "\t", ""]))
    n_header = len(lines)
    for _ in range(draw(st.integers(0, 10))):
        is_record = draw(st.integers(0, 7)) != 5
        lines.append(draw(records(genome, NAMES[names]) if is_record else NO_RECORD | anything))
    ends = ["\n"] * n_header
    ends += [draw(st.sampled_from(["\n", "\n", "\n", "\n", "\r\n", "\n\n"])) for _ in lines[n_header:]]
    ends[-1] = draw(st.sampled_from(["\n", "\n", "", "\r", "\n \n", "\n\n\r\n"]))
    text = "".join(line + end for line, end in zip(lines, ends, strict=True))
    return text, draw(st.sampled_from(["plain", "plain", "bgzip", "gzip"]))


def write(folder: Path, text: str, packed: str) -> Path:
    path = folder / {"plain": "v.vcf", "bgzip": "v.vcf.gz", "gzip": "w.vcf.gz"}[packed]
    data = text.encode()
    if packed == "bgzip":
        with pysam.BGZFile(str(path), "wb") as out:
            out.write(data)
    else:
        path.write_bytes(gzip.compress(data) if packed == "gzip" else data)
    return path


def lines_behind(text: str, n_before: int) -> dict[int, str]:
    """Number and text of each line behind the header, without blank ones at the end."""
    lines = [line.removesuffix("\r") for line in text.removeprefix("\ufeff").split("\n")]
    while lines and not lines[-1].strip():
        lines.pop()
    return {number: line for number, line in enumerate(lines, start=1) if number > n_before}


# --- what must hold --------------------------------------------------------------------------------------


def plain_status(genome: Genome, chrom: str, pos: int, ref: str, alt: str, swap: bool) -> str:
    ref, alt = (each.upper() if each.isascii() and each.isalpha() else each for each in (ref, alt))
    if alt in (".", "*"):
        return {".": "no_alt", "*": "star"}[alt]
    if any(letter in alt for letter in "<>[]") or alt.startswith(".") or alt.endswith("."):
        return "symbolic"
    if set(ref + alt) - set("ACGT"):
        return "letters"
    if chrom not in genome.contigs:
        return "contig"
    text = genome.sequence(chrom, 0, genome.contigs[chrom])
    if swap and pos > 0 and text[pos - 1 :].startswith(alt) and not text[pos - 1 :].startswith(ref):
        return "scored"
    if pos < 1 or pos - 1 + len(ref) > len(text):
        return "position"
    there = text[pos - 1 : pos - 1 + len(ref)]
    if "N" in there:
        return "unknown_base"
    return "scored" if there == ref else "mismatch"


def check(error: ChromTransferError, path: Path) -> None:
    assert str(error).startswith(f"{path}: ")
    assert len(str(error)) < 5_000


def variant_of(record) -> tuple:
    return record.chrom, record.pos, record.ref, record.alts or (".",)


def read_back(path: Path, header: list[str], lines: list[str]) -> list[tuple]:
    path.write_bytes("\n".join([*header, *lines, ""]).encode())
    verbosity = pysam.set_verbosity(0)
    with pysam.VariantFile(str(path)) as file:
        found = [variant_of(record) for record in file]
    pysam.set_verbosity(verbosity)
    return found


@given(data=st.data())
@settings(steady, max_examples=100)
def test_every_line_is_kept_as_it_stands_or_rejected(folder, genome, data):
    text, packed = data.draw(files(genome))
    path = write(folder, text, packed)
    swap, edges = data.draw(st.booleans()), data.draw(st.sampled_from(["pad", "skip"]))
    size = data.draw(st.sampled_from([1, 3, 4096]))
    try:
        source = VariantSource(path, genome, data.draw(st.sampled_from([1, 10, 75])), (0, 5), edges, swap)
        blocks = list(source.blocks(size))
    except ChromTransferError as error:
        check(error, path)
        return
    wanted = lines_behind(text, source.n_before)
    kept = {int(n): line for block in blocks for n, line in zip(block.numbers, block.lines, strict=True)}
    rejected = {each.number: each for block in blocks for each in block.rejected}
    assert list(kept) == sorted(kept)
    assert not kept.keys() & rejected.keys()
    assert kept.keys() | rejected.keys() == wanted.keys()
    assert kept == {number: wanted[number] for number in kept}
    for number, (_, beginning, reason) in rejected.items():
        assert reason
        assert beginning == ("" if wanted[number].isspace() else wanted[number][:200])
    found = read_back(folder / "kept.vcf", source.header, list(kept.values()))
    fields = [line.split("\t") for line in kept.values()]
    assert found == [(each[0], int(each[1]), each[3], tuple(each[4].split(","))) for each in fields]
    if BCFTOOLS and kept:
        command = [BCFTOOLS, "view", "-H", str(folder / "kept.vcf")]
        result = subprocess.run(command, capture_output=True)
        assert result.returncode == 0, result.stderr
        assert result.stdout.count(b"\n") == len(kept)
    rows = [row for block in blocks for row in block.table.itertuples()]
    expected = [(each, allele) for each in fields for allele in each[4].split(",")]
    assert len(rows) == len(expected)
    for row, (each, alt) in zip(rows, expected, strict=True):
        plain = plain_status(genome, each[0], int(each[1]), each[3], alt, swap)
        assert STATUSES[row.status] in (
            (plain, "edge") if edges == "skip" and plain == "scored" else (plain,)
        )
        assert bool(row.flags & Flag.EDGE) <= (edges == "pad")
        assert bool(row.flags & Flag.SWAPPED) == row.swapped


START = f"##fileformat=VCFv4.2\n{COLUMNS}\nchr1\t5\t.\tA\tC\t.\t.\t.\n".encode()


@given(data=st.binary(max_size=300) | st.binary(max_size=100).map(lambda end: START + end))
@settings(steady, max_examples=80)
def test_any_bytes_are_read_or_refused(folder, genome, data):
    path = folder / "bytes.vcf"
    for content in (
        data,
        gzip.compress(data),
        gzip.compress(data)[:-3],
        b"BCF\2\2" + data,
        b"\x1f\x8b" + data,
    ):
        path.write_bytes(content)
        try:
            blocks = list(VariantSource(path, genome, 10).blocks())
        except ChromTransferError as error:
            check(error, path)
        else:
            assert sum(len(block.lines) + len(block.rejected) for block in blocks) <= data.count(b"\n") + 1


@given(data=st.data())
@settings(steady, max_examples=40)
def test_read_variants_accounts_for_every_allele(folder, genome, data):
    path = write(folder, *data.draw(files(genome)))
    try:
        report = read_variants(path, genome, 10).report
    except ChromTransferError as error:
        check(error, path)
        return
    records = {number for number, _, _ in report.dropped}
    assert records <= set(range(1, report.n_records + 1))
    assert len(report.dropped) + report.n_kept >= report.n_alleles


@given(data=st.data())
@settings(steady, max_examples=20)
def test_the_command_loses_nothing(folder, genome, checkpoint, data):
    text, packed = data.draw(files(genome))
    path = write(folder, text, packed)
    out = folder / data.draw(st.sampled_from(["out.vcf", "out.vcf.gz"]))
    for old in folder.glob("out.*"):
        old.unlink()
    settings = [
        "--genome",
        genome.path,
        "--model",
        checkpoint,
        "--null",
        "none",
        "--device",
        "cpu",
        "-o",
        out,
    ]
    result = CliRunner().invoke(main, ["variants", str(path), *map(str, settings)])
    if result.exit_code:
        assert isinstance(result.exception, SystemExit), result.exception
        assert "Error: " in result.output
        assert not list(folder.glob("out.*"))
        return
    with pysam.VariantFile(str(out)) as file:
        found = Counter(variant_of(record) for record in file)
    source = VariantSource(path, genome, 600)
    blocks = list(source.blocks())
    fields = [line.split("\t") for block in blocks for line in block.lines]
    assert found == Counter((each[0], int(each[1]), each[3], tuple(each[4].split(","))) for each in fields)
    dropped = out.with_name(f"{out.name}.dropped.tsv")
    listed = [row.split("\t") for row in dropped.read_text().split("\n")[1:-1]] if dropped.exists() else []
    rejected = {each.number for block in blocks for each in block.rejected}
    assert {int(row[0]) for row in listed if row[2] == "rejected"} == rejected
    numbers = {int(n) for block in blocks for n in block.numbers}
    assert numbers | rejected == lines_behind(text, source.n_before).keys()
    unscored = sum(int((block.table["status"] != 0).sum()) for block in blocks)
    assert len(listed) == unscored + len(rejected)
