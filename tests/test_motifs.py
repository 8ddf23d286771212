"""Motif matrices from MEME files and from JASPAR releases."""

from __future__ import annotations

import numpy as np
import pytest
from motif_cases import random_motifs, write_meme

from chromtransfer_plugin.defaults import Architecture
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.models.motif_trunk import motif_counts
from chromtransfer_plugin.motifs import read_motifs

MEME = """MEME version 4

ALPHABET= ACGT

MOTIF MA0001.1 first
letter-probability matrix: alength= 4 w= 2 nsites= 20 E= 0
0.7 0.1 0.1 0.1
0.333 0.333 0.333 0.0

MOTIF second
letter-probability matrix: alength= 4 w= 1 nsites= 20 E= 0
0 0 0 1
"""


def test_a_meme_file(tmp_path):
    path = tmp_path / "two.meme"
    path.write_text(MEME)
    motifs = read_motifs(path)
    assert list(motifs) == ["MA0001.1 first", "second"]
    np.testing.assert_allclose(motifs["MA0001.1 first"], [[0.7, 0.1, 0.1, 0.1], [1 / 3, 1 / 3, 1 / 3, 0]])
    np.testing.assert_array_equal(motifs["second"], [[0, 0, 0, 1]])


def test_what_is_written_is_read(tmp_path):
    written = random_motifs()
    motifs = read_motifs(str(write_meme(tmp_path / "JASPAR_mine.meme", written)))
    assert list(motifs) == list(written)
    for name, matrix in motifs.items():
        np.testing.assert_allclose(matrix, written[name], atol=2e-6)
        np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-12)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (MEME, "", "holds no motif in MEME format"),
        (MEME, "chr1\t0\t10\n", "holds no motif in MEME format"),
        (MEME[-10:], "", "2 motifs begin .* but 1 are complete"),
        ("MOTIF second", "MOTIF MA0001.1 first", "2 motifs begin .* but 1 are complete and have a name of their own"),
        ("w= 2", "", "not readable as MEME motifs"),
        ("w= 2", "w= 3", "not readable as MEME motifs"),
        ("0.7 0.1 0.1 0.1", "0.7 0.1 0.1", "not readable as MEME motifs"),
        ("0.7 0.1 0.1 0.1", "0.7 0.1 0.1 x", "not readable as MEME motifs"),
        ("0.7 0.1", "1.7 0.1", r"row 1 of motif 'MA0001.1 first' is \[1.7, 0.1, 0.1, 0.1\]: expected four probabil"),
        ("0.7 0.1", "1.1 -0.3", "row 1 of motif 'MA0001.1 first'"),
        ("0.333 0.333 0.333 0.0", "nan 0 0 1", "row 2 of motif 'MA0001.1 first'"),
        ("0 0 0 1", "0 0 0 17", "row 1 of motif 'second'"),
    ],
)  # fmt: skip
def test_a_broken_file_is_named_in_one_line(tmp_path, old, new, message):
    assert old in MEME
    path = tmp_path / "broken.meme"
    path.write_text(MEME.replace(old, new))
    with pytest.raises(ChromTransferError, match=message) as error:
        read_motifs(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_text(tmp_path):
    (tmp_path / "x.meme").write_bytes(b"\x1f\x8b\xff\x00MOTIF")
    with pytest.raises(ChromTransferError, match=r"x\.meme: not readable as MEME motifs"):
        read_motifs(tmp_path / "x.meme")


@pytest.mark.parametrize("name", ["nowhere.meme", ".", "JASPAR_nowhere"])
def test_a_file_that_is_not_there(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ChromTransferError, match=r"no such motif file \(expected MEME format, or a name like JASPAR2024"
    ):
        read_motifs(name)


@pytest.mark.parametrize("release", ["JASPAR1999", "jaspar"])
def test_an_unknown_release_is_one_line_with_the_known_ones(capfd, release):
    with pytest.raises(ChromTransferError) as error:
        read_motifs(release)
    assert str(error.value).startswith(
        f"motifs: pyjaspar has no release '{release.upper()}': use JASPAR2014, "
    )
    assert "JASPAR2024" in str(error.value)
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")


def test_jaspar2024_is_what_the_default_network_is_made_for():
    motifs = read_motifs("jaspar2024")
    assert len(motifs) == 879
    assert motif_counts(motifs) == Architecture().motifs
    for matrix in motifs.values():
        np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-9)
        assert (matrix >= 0).all()
    ctcf = motifs["MA0139.2 CTCF"]
    assert "".join("ACGT"[i] for i in ctcf.argmax(axis=1)) == "GCCACCAGGGGGCGC"
