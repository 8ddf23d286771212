"""Reading the records of a FASTA."""

from __future__ import annotations

import gzip
import tracemalloc

import numpy as np
import pysam
import pytest

from chromtransfer_plugin import fasta
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.fasta import read_fasta
from chromtransfer_plugin.fasta_open import BGZF_END

TEXT = b"\n>one  first record \nACgt\nNn\n\n>two\r\nRYx\r\n>one\nA C\tG\n>last|x:1-4\nacgt"
RECORDS = [
    ("one", "first record", b"ACGTNN", 2),
    ("two", "", b"RYX", 6),
    ("one", "", b"ACG", 8),
    ("last|x:1-4", "", b"ACGT", 10),
]


def write(path, text: bytes, compression="plain"):
    if compression == "bgzip":
        with pysam.BGZFile(str(path), "wb") as out:
            out.write(text)
    else:
        path.write_bytes(gzip.compress(text) if compression == "gzip" else text)
    return path


@pytest.mark.parametrize("compression", ["plain", "gzip", "bgzip"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_records_are_read_in_order_with_their_lines(tmp_path, compression, mark):
    path = write(tmp_path / "x.fa", mark + TEXT, compression)
    records = list(read_fasta(path))
    assert records == RECORDS
    np.testing.assert_array_equal(records[0].codes, [0, 1, 2, 3, 4, 4])
    np.testing.assert_array_equal(records[1].codes, [4, 4, 4])


@pytest.mark.parametrize("chunk", range(1, 40))
def test_records_do_not_depend_on_where_a_chunk_ends(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(fasta, "_CHUNK", chunk)
    assert list(read_fasta(write(tmp_path / "x.fa", TEXT))) == RECORDS


def test_a_random_file_is_read_as_it_was_written(tmp_path, monkeypatch):
    monkeypatch.setattr(fasta, "_CHUNK", 997)
    rng = np.random.default_rng(3)
    wanted, lines = [], []
    for number in range(200):
        sequence = bytes(rng.choice(list(b"ACGTN"), rng.integers(1, 400)).astype(np.uint8))
        wanted.append((f"r{number}", "", sequence, len(lines) + 1))
        width = int(rng.integers(1, 100))
        lines += [b">r%d" % number, *(sequence[i : i + width] for i in range(0, len(sequence), width))]
    path = write(tmp_path / "x.fa.gz", b"\n".join(lines), "gzip")
    assert list(read_fasta(path)) == wanted


BAD = {
    "is empty": b"",
    "nothing but white space": b"\n \n",
    r"it starts with b'ACGT\\n', expected a header": b"ACGT\n",
    r"it starts with b'>a\\nACGT\\n', expected a header": b" >a\nACGT\n",
    "looks like FASTQ": b"@r\nACGT\n+\nIIII\n",
    "line 3: the header has no name": b">a\nAC\n>\nAC\n",
    "line 1: the header has no name right after": b"> a\nAC\n",
    r"record 'b' \(line 3\) has no sequence": b">a\nAC\n>b\n>c\nA\n",
    r"record 'end' \(line 3\) has no sequence": b">a\nAC\n>end\n",
    r"record 'p' \(line 1\) is not DNA, it holds 'E' at position 3": b">p\nACELV\n",
    "It is RNA: write T for U": b">p\nACGU\n",
    "Remove the alignment's gaps": b">p\nAC-GT\n",
    r"it holds '\\x00' at position 2": b">p\nA\0C\n",
    r"it holds '\\xff' at position 1": b">p\n\xff\xfe\n",
    "line 3: the header is not text": b">p\nA\n>\xff\xfe\nA\n",
    r"record 'long' \(line 3\) is longer than 20 bases. Is it a genome": b">a\nAC\n>long\n" + b"ACGTA\n" * 5,
}


@pytest.mark.parametrize(("message", "text"), BAD.items(), ids=range(len(BAD)))
@pytest.mark.parametrize("compression", ["plain", "gzip"])
def test_bad_text_is_one_clear_error(tmp_path, message, text, compression):
    if not text and compression == "gzip":
        message = "white space"
    path = write(tmp_path / "bad.fa", text, compression)
    with pytest.raises(ChromTransferError, match=message) as error:
        list(read_fasta(path, longest=20))
    assert str(error.value).startswith(f"{path}: ")


def test_files_that_cannot_be_read_are_refused_at_once(tmp_path):
    random = np.random.default_rng(0).choice(list(b"ACGT"), 300_000).astype(np.uint8).tobytes()
    whole = write(tmp_path / "x.fa.gz", b">a\n" + random, "bgzip").read_bytes()
    cut = write(tmp_path / "cut.fa.gz", whole[: -len(BGZF_END)])
    for path, message in (
        (tmp_path / "nowhere.fa", "no such file"),
        (tmp_path, "is a folder"),
        (cut, "end marker is missing"),
    ):
        with pytest.raises(ChromTransferError, match=message):
            read_fasta(path)
    for stub in (whole[:2], whole[:10], b"\x1f\x8b\x08\x04"):
        with pytest.raises(ChromTransferError, match="the compressed data is damaged"):
            read_fasta(write(tmp_path / "stub.fa.gz", stub))
    damaged = whole[:40_000] + b"\0" * 100 + whole[40_100:]
    truncated = gzip.compress(b">a\n" + random)[:-50_000]
    for data in (damaged, truncated):
        with pytest.raises(ChromTransferError, match="the compressed data is damaged"):
            list(read_fasta(write(tmp_path / "bad.fa.gz", data)))


def test_a_line_without_end_does_not_fill_the_memory(tmp_path):
    path = write(tmp_path / "bomb.fa.gz", b">a\n" + b"A" * 100_000_000, "gzip")
    tracemalloc.start()
    with pytest.raises(ChromTransferError, match=r"line 2 is longer than 1,000,000 bases\. Is it"):
        list(read_fasta(path, longest=1_000_000))
    assert tracemalloc.get_traced_memory()[1] < 30e6
    tracemalloc.stop()


def test_a_record_of_the_allowed_length_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(fasta, "_CHUNK", 3)  # ends right before the sequence
    path = write(tmp_path / "x.fa", b">a\n" + b"A" * 50 + b"\r\n>b\nC\n")
    assert [len(record.sequence) for record in read_fasta(path, longest=50)] == [50, 1]
    with pytest.raises(ChromTransferError, match="longer than 49"):
        list(read_fasta(path, longest=49))


@pytest.mark.parametrize("compression", ["plain", "gzip"])
def test_progress_adds_up_to_the_size_of_the_file(tmp_path, compression, monkeypatch):
    monkeypatch.setattr(fasta, "_CHUNK", 500)
    path = write(tmp_path / "x.fa", b"".join(b">%d\nACGTTGCA\n" % i for i in range(1000)), compression)
    steps: list[int] = []
    assert sum(1 for _ in read_fasta(path, progress=steps.append)) == 1000
    assert sum(steps) == path.stat().st_size
