"""Motif matrices: a release of JASPAR (shipped with pyjaspar, no download) or a file in MEME format."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from chromtransfer_plugin.errors import ChromTransferError

Matrices = dict[str, np.ndarray]


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
        If there is no such release or file, or it holds no motif.
    """
    if str(source).upper().startswith("JASPAR") and not Path(source).exists():
        return _jaspar(str(source).upper())
    path = Path(source)
    if not path.is_file():
        raise ChromTransferError(
            f"{path}: no such motif file (expected MEME format, or a name like JASPAR2024)."
        )
    from tangermeme.io import read_meme

    try:
        found = {name: np.asarray(matrix, dtype=float).T for name, matrix in read_meme(str(path)).items()}
    except (ValueError, IndexError, UnicodeDecodeError, KeyError) as error:
        raise ChromTransferError(f"{path}: not readable as MEME motifs ({error}).") from error
    if not found:
        raise ChromTransferError(f"{path}: holds no motif in MEME format.")
    return found


def _jaspar(release: str) -> Matrices:
    from pyjaspar import jaspardb

    try:
        motifs = jaspardb(release=release).fetch_motifs(collection="CORE", tax_group=["vertebrates"])
    except Exception as error:  # pyjaspar raises bare classes of its own and of sqlite
        raise ChromTransferError(f"motifs: pyjaspar has no release '{release}' ({error}).") from error
    matrices = {}
    for motif in motifs:
        counts = np.array([motif.counts[base] for base in "ACGT"], dtype=float).T
        matrices[f"{motif.matrix_id} {motif.name}"] = counts / counts.sum(axis=1, keepdims=True)
    return matrices
