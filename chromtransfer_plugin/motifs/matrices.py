"""Motif matrices: a release of JASPAR (shipped with pyjaspar, no download) or a file in MEME format."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.motifs.meme import read_meme

Matrices = dict[str, np.ndarray]
_RELEASE = re.compile(r"JASPAR\d*", re.IGNORECASE)


def read_motifs(source: str | Path) -> Matrices:
    """Return probability matrices by name.

    Parameters
    ----------
    source : str or path
        A release such as ``JASPAR2024`` (CORE collection, vertebrates, latest versions) or a MEME file.

    Returns
    -------
    dict of str to numpy.ndarray (length, 4) float64
        Rows sum to 1, columns are A, C, G, T; in the order of the source.

    Raises
    ------
    ChromTransferError
        If there is no such release or file, it holds no motif, or a motif is incomplete or not of probabilities.
    """
    path = Path(source)
    if _RELEASE.fullmatch(str(source)) and not path.exists():
        return _jaspar(str(source).upper())
    if not path.is_file():
        raise ChromTransferError(
            f"{path}: no such motif file (expected MEME format, or a name like JASPAR2024)."
        )
    return read_meme(path)


def choose_motifs(known: Iterable[str], names: Iterable[str]) -> list[str]:
    """Find motifs by what people call them.

    Parameters
    ----------
    known : iterable of str
        Names of motifs, such as ``MA0114.4 HNF4A`` in JASPAR.
    names : iterable of str
        Each a full name, its first word (the matrix, with or without its version) or the rest of it (the factor); upper
        and lower case are the same. A name that fits several motifs chooses them all.

    Returns
    -------
    list of str
        Full names, in the order of ``known``.

    Raises
    ------
    ChromTransferError
        If a name fits no motif; the message gives similar ones.
    """
    known = list(known)
    spelled: dict[str, set[str]] = {}
    for name in known:
        matrix, _, factor = name.partition(" ")
        for alias in {name, matrix, matrix.rpartition(".")[0], factor} - {""}:
            spelled.setdefault(alias.upper(), set()).add(name)
    chosen: set[str] = set()
    for name in names:
        if name.upper() not in spelled:
            close = difflib.get_close_matches(name.upper(), spelled, n=5, cutoff=0.5)
            similar = sorted(set().union(*(spelled[alias] for alias in close)))[:5]
            raise ChromTransferError(
                f"motifs: '{name}' is none of the {len(known)} motifs"
                + (f"; similar: {', '.join(similar)}." if similar else ".")
            )
        chosen |= spelled[name.upper()]
    return [name for name in known if name in chosen]


def _jaspar(release: str) -> Matrices:
    from pyjaspar import jaspar_releases, jaspardb

    if release not in jaspar_releases:  # pyjaspar itself would print and fail later
        raise ChromTransferError(
            f"motifs: pyjaspar has no release '{release}': use {', '.join(sorted(jaspar_releases))} or a MEME file."
        )
    motifs = jaspardb(release=release).fetch_motifs(collection="CORE", tax_group=["vertebrates"])
    matrices = {}
    for motif in motifs:
        counts = np.array([motif.counts[base] for base in "ACGT"], dtype=float).T
        matrices[f"{motif.matrix_id} {motif.name}"] = counts / counts.sum(axis=1, keepdims=True)
    return matrices
