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


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("\n", "\r\n"),
        (" w= 2 ", " "),
        ("nsites= 20 E= 0\n", "nsites= 20 E= 0\n\n"),
        ("0 0 0 1\n", "0 0 0 1\nURL http://example.org\n"),
        ("0 0 0 1\n", "0 0 0 1\n------\n"),
        ("MEME version", "\ufeffMEME version"),
    ],
)
def test_what_the_format_leaves_open(tmp_path, old, new):
    assert old in MEME
    (tmp_path / "x.meme").write_bytes(MEME.replace(old, new).encode())
    motifs = read_motifs(tmp_path / "x.meme")
    assert {name: len(matrix) for name, matrix in motifs.items()} == {"MA0001.1 first": 2, "second": 1}


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
        (MEME[-10:], "", "line LAST: motif 'second' has 0 rows, expected 1"),
        ("MOTIF second", "MOTIF MA0001.1 first", "a second motif 'MA0001.1 first'; rename"),
        ("MOTIF second", "MOTIF", "a motif without a name"),
        ("w= 2", "w= 3", "has 2 rows, expected 3"),
        ("w= 2", "w= 1", "has 2 rows, expected 1"),
        ("alength= 4 w= 2", "alength= 20 w= 2", "is of 20 letters, expected the four of DNA"),
        ("letter-probability matrix: alength= 4 w= 1", "log-odds matrix: alength= 4 w= 1", "'second' has 0 lines"),
        ("0.7 0.1 0.1 0.1", "0.7 0.1 0.1", "'0.7 0.1 0.1' of motif 'MA0001.1 first': expected four probabilities"),
        ("0.7 0.1 0.1 0.1", "0.7 0.1 0.1 x", "'0.7 0.1 0.1 x' of motif"),
        ("0.7 0.1 0.1 0.1", "0.7 0.1 0.1 0.1 0", "'0.7 0.1 0.1 0.1 0' of motif"),
        ("0.7 0.1", "1.7 0.1", "'1.7 0.1 0.1 0.1' of motif 'MA0001.1 first': expected four probabil"),
        ("0.7 0.1", "1.1 -0.3", "of motif 'MA0001.1 first'"),
        ("0.333 0.333 0.333 0.0", "nan 0 0 1", "'nan 0 0 1' of motif 'MA0001.1 first'"),
        ("0 0 0 1", "0 0 0 17", "'0 0 0 17' of motif 'second'"),
    ],
)  # fmt: skip
def test_a_broken_file_is_named_in_one_line(tmp_path, old, new, message):
    assert old in MEME
    path = tmp_path / "broken.meme"
    path.write_text(MEME.replace(old, new))
    message = message.replace("LAST", str(MEME[: MEME.index("0 0 0 1")].count("\n")))
    with pytest.raises(ChromTransferError, match=message) as error:
        read_motifs(path)
    assert str(error.value).startswith((f"{path}: ", f"{path}, line "))
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
