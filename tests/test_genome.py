from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pyfaidx
import pysam
import pytest
from genome_helpers import random_contigs, real_data_folder, write_fasta

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.onehot import encode


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    return write_fasta(tmp_path / "genome.fa", random_contigs())


@pytest.mark.parametrize("kind", ["plain", "indexed", "bgzip", "crlf", "one line", "narrow"])
def test_extraction_equals_pyfaidx_window_by_window(tmp_path, kind):
    contigs = random_contigs()
    fasta = tmp_path / "genome.fa"
    write_fasta(
        fasta,
        contigs,
        width={"one line": 10**9, "narrow": 1}.get(kind, 60),
        end="\r\n" if kind == "crlf" else "\n",
    )
    oracle = pyfaidx.Fasta(str(fasta), as_raw=True)  # also leaves an index beside the file
    path = fasta
    if kind == "bgzip":
        path = tmp_path / "genome.fa.gz"
        pysam.tabix_compress(str(fasta), str(path))
    elif kind != "indexed":
        Path(f"{fasta}.fai").unlink()
    genome = Genome(path)
    assert genome.contigs == {name: len(sequence) for name, sequence in contigs.items()}
    assert list(genome.contigs) == list(contigs)

    rng = np.random.default_rng(1)
    names = np.array(["chr1", "chr2", "chrUn_x", "chr3"])[rng.integers(0, 4, 300)]
    starts = np.array([rng.integers(0, genome.contigs[name] - 600 + 1) for name in names])
    # The first and last window of each contig, and both borders of the run of N.
    edges = [(name, at) for name in set(names) for at in (0, genome.contigs[name] - 600)]
    edges += [("chr3", 499), ("chr3", 500), ("chr3", 178_900), ("chr3", 178_901)]
    names = np.concatenate([names, [name for name, _ in edges]])
    starts = np.concatenate([starts, [at for _, at in edges]])
    expected = np.stack([encode(oracle[name][at : at + 600]) for name, at in zip(names, starts, strict=True)])
    got = genome.extract(names, starts, 600)
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(genome.extract(genome.contig_index(names), starts, 600), expected)
    assert set(np.unique(got)) == {0, 1, 2, 3, 4}
    for name in contigs:
        np.testing.assert_array_equal(genome.codes(name), encode(oracle[name][:]))
    assert genome.sequence("chr1", 10, 50) == "".join(
        base if base in "ACGT" else "N" for base in oracle["chr1"][10:50].upper()
    )


def test_windows_come_back_in_the_order_asked_and_are_writable(fasta):
    genome = Genome(fasta)
    codes = genome.extract(["chr2", "chr1", "chr2"], [1, 5, 0], 10)
    order = np.array([2, 0, 1])
    np.testing.assert_array_equal(
        genome.extract(np.array(["chr2", "chr1", "chr2"])[order], np.array([1, 5, 0])[order], 10),
        codes[order],
    )
    codes[:] = 4
    assert genome.extract(["chr2"], [1], 10).min() < 4
    assert genome.extract([], [], 600).shape == (0, 600)


def test_only_n_for_windows_of_many_lengths(tmp_path):
    fasta = write_fasta(tmp_path / "n.fa", {"a": "N" * 50 + "C" + "N" * 50, "b": "N" * 100})
    genome = Genome(fasta)
    chroms = ["a", "a", "a", "a", "b", "a", "a"]
    starts = [0, 0, 50, 51, 0, 49, 40]
    ends = [50, 51, 51, 101, 100, 60, 55]
    assert genome.only_n(chroms, starts, ends).tolist() == [True, False, False, True, True, False, False]


def bgzip(path: Path, text: bytes) -> Path:
    plain = path.with_suffix("")
    plain.write_bytes(text)
    pysam.tabix_compress(str(plain), str(path), force=True)
    return path


def bad_missing(folder):
    return folder / "absent.fa", "no such file"


def bad_folder(folder):
    return folder, "is a folder"


def bad_empty(folder):
    (folder / "empty.fa").write_bytes(b"")
    return folder / "empty.fa", "is empty"


def bad_blank(folder):
    (folder / "blank.fa").write_bytes(b"\n \n")
    return folder / "blank.fa", "white space"


def bad_bed(folder):
    (folder / "genome.fa").write_text("chr1\t1\t2\n")
    return folder / "genome.fa", "not a FASTA file.*chr1.*expected a header line like '>chr1'"


def bad_binary(folder):
    (folder / "genome.2bit").write_bytes(bytes(range(128, 256)) * 9)
    return folder / "genome.2bit", "not a FASTA file"


def bad_gzip(folder):
    (folder / "genome.fa.gz").write_bytes(gzip.compress(b">chr1\nACGT\n"))
    return folder / "genome.fa.gz", "compressed with gzip.*gunzip.*bgzip"


def bad_gzip_stub(folder):
    (folder / "genome.fa.gz").write_bytes(b"\x1f\x8b\x08")
    return folder / "genome.fa.gz", "compressed with gzip"


def bad_bgzip_content(folder):
    return bgzip(folder / "regions.bed.gz", b"chr1\t1\t2\n"), "not a FASTA file"


def bad_bgzip_cut(folder):
    path = bgzip(folder / "cut.fa.gz", b">chr1\n" + b"ACGTTGCATG\n" * 50_000)
    os.truncate(path, path.stat().st_size - 28)
    return path, "cut short"


def bad_bgzip_damaged(folder):
    bases = np.random.default_rng(0).choice([65, 67, 71, 84], 300_000).astype(np.uint8).tobytes()
    path = bgzip(folder / "damaged.fa.gz", b">chr1\n" + bases + b"\n")
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 50] = b"\0" * 50
    path.write_bytes(data)
    return path, "damaged"


def bad_duplicate(folder):
    (folder / "twice.fa").write_text(">chr1 a\nAC\n>chr2\nAC\n>chr1 b\nGT\n")
    return folder / "twice.fa", "'chr1' occurs twice"


def bad_no_sequence(folder):
    (folder / "headers.fa").write_text(">chr1\n>chr2\n")
    return folder / "headers.fa", "no sequence"


def bad_no_name(folder):
    (folder / "nameless.fa").write_text(">chr1\nAC\n> \nAC\n")
    return folder / "nameless.fa", "no name"


@pytest.mark.parametrize(
    "make",
    [
        bad_missing, bad_folder, bad_empty, bad_blank, bad_bed, bad_binary, bad_gzip, bad_gzip_stub,
        bad_bgzip_content, bad_bgzip_cut, bad_bgzip_damaged, bad_duplicate, bad_no_sequence, bad_no_name,
    ],
)  # fmt: skip
def test_bad_files_are_named_with_their_fault(tmp_path, make):
    path, fault = make(tmp_path)
    with pytest.raises(ChromTransferError, match=fault) as caught:
        Genome(path, tmp_path / "cache")
    assert str(path) in str(caught.value)
    assert not list(tmp_path.rglob("*.codes"))


@pytest.mark.parametrize(
    ("chrom", "start", "length"), [("chr1", -1, 600), ("chr1", 4_401, 600), ("tiny", 0, 8), ("chr2", 2, 600)]
)
def test_windows_off_the_contig_are_named(fasta, chrom, start, length):
    with pytest.raises(ChromTransferError) as caught:
        Genome(fasta).extract(["chr1", chrom], [0, start], length)
    assert f"{chrom}:{start}-{start + length}" in str(caught.value)
    assert "1 of 2 windows" in str(caught.value)


def test_bad_requests_say_what_was_expected(fasta):
    genome = Genome(fasta)
    with pytest.raises(ChromTransferError, match="length is 0"):
        genome.extract(["chr1"], [0], 0)
    with pytest.raises(ChromTransferError, match="two 1-D arrays"):
        genome.extract(["chr1", "chr2"], [0], 10)
    with pytest.raises(ChromTransferError, match="contig number 9"):
        genome.extract([0, 9], [0, 0], 10)
    with pytest.raises(ChromTransferError, match="contig number -1"):
        genome.extract([0, -1], [0, 0], 10)
    with pytest.raises(ChromTransferError, match="chr1:10-5"):
        genome.sequence("chr1", 10, 5)


def test_unknown_contigs_are_explained_by_the_fasta_s_own_style(fasta, tmp_path):
    with pytest.raises(ChromTransferError, match=r"`1`.*`chr1`: prefix with chr, e\.g\. `sed 's/\^/chr/'`"):
        Genome(fasta).extract(["1"], [0], 10)
    bare = Genome(write_fasta(tmp_path / "ensembl.fa", {"1": "ACGT", "X": "ACGT"}))
    with pytest.raises(ChromTransferError, match="remove the prefix chr"):
        bare.codes("chrX")
    with pytest.raises(
        ChromTransferError, match=r"contigs are chr1, chr2, chrUn_x, \.\.\..*Did you mean `chrUn_x`"
    ):
        Genome(fasta).contig_index(["chr1", "chrUn_y"])


@pytest.mark.real_data
def test_the_real_genome_costs_its_real_bases_and_equals_samtools(tmp_path):
    fasta = real_data_folder() / "hg38_partial.fa.gz"
    genome = Genome(fasta, tmp_path)
    (codes,) = tmp_path.glob("*.codes")
    assert sum(genome.contigs.values()) == 3_088_269_832
    assert codes.stat().st_blocks * 512 < 200_000_000
    index = [line.split("\t") for line in Path(f"{fasta}.fai").read_text().splitlines()]
    assert genome.contigs == {name: int(length) for name, length, *_ in index}
    known = sum(int((genome.codes(name) < 4).sum()) for name in genome.contigs)
    assert known == 84_633_375
    oracle = pysam.FastaFile(str(fasta))
    assert genome.sequence("chr2", 705_859, 706_459) == oracle.fetch("chr2", 705_859, 706_459)


def test_a_byte_order_mark_and_blank_lines_belong_to_no_contig(tmp_path):
    (tmp_path / "genome.fa").write_bytes(b"\xef\xbb\xbf \t\r\n\n>chr1\nACGT\n>chr2\nGG\n")
    genome = Genome(tmp_path / "genome.fa", tmp_path / "cache")
    assert genome.contigs == {"chr1": 4, "chr2": 2}
    assert genome.sequence("chr1", 0, 4) == "ACGT"


def test_a_space_before_the_first_header_is_an_error(tmp_path):
    (tmp_path / "genome.fa").write_bytes(b" >chr1\nACGT\n>chr2\nGG\n")
    with pytest.raises(ChromTransferError, match="not a FASTA file"):
        Genome(tmp_path / "genome.fa", tmp_path / "cache")
