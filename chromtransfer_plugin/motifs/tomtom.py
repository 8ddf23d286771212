"""Which known motif a pattern is: TOMTOM (memelite) on its informative core."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.friendly import ChromTransferWarning
from chromtransfer_plugin.motifs.threads import torch_threads_kept

MATCH_COLUMNS = (
    "pattern", "core_start", "core_end", "rank", "motif", "strand", "offset", "overlap", "similarity", "p_value",
    "q_value", "named",
)  # fmt: skip
CORE_BITS = 0.3  # a column of the core's ends has at least this information
MIN_CORE = 4  # columns; less matches anything
Q_THRESHOLD = 0.05
LEAST_SIMILARITY = 0.5  # of a match that gives its name: a quarter of a motif that is matched exactly
_FEW_MOTIFS = 25  # memelite's limit, below which the background is too small


def information(matrix: NDArray[Any]) -> NDArray[np.float64]:
    """Information content of each row of probabilities (length, 4), bits (0 to 2)."""
    p = np.clip(np.asarray(matrix, dtype=float), 1e-12, 1)
    return np.maximum(2 + (p * np.log2(p)).sum(axis=1), 0)


def core(matrix: NDArray[Any], least: float = CORE_BITS) -> tuple[int, int]:
    """First and end column (half-open) of what lies between the outermost columns of ``least`` bits; (0, 0) if none."""
    strong = np.flatnonzero(information(matrix) >= least)
    return (int(strong[0]), int(strong[-1]) + 1) if strong.size else (0, 0)


def consensus(matrix: NDArray[Any]) -> str:
    """A letter of at least 1 bit in upper case, of ``CORE_BITS`` in lower case, else a dot."""
    letters = np.array(list("ACGT"))[np.asarray(matrix).argmax(axis=1)]
    bits = information(matrix)
    return "".join(
        str(letter) if b >= 1 else str(letter).lower() if b >= CORE_BITS else "."
        for letter, b in zip(letters, bits, strict=True)
    )


def match_patterns(
    patterns: Mapping[str, NDArray[Any]],
    motifs: Mapping[str, NDArray[Any]],
    *,
    q_threshold: float = Q_THRESHOLD,
    n_best: int = 5,
    trim: bool = True,
) -> pd.DataFrame:
    """Compare patterns with known motifs.

    P (memelite's TOMTOM, complete scores) is that of the best of all placements on both strands, against the columns of
    all ``motifs`` as background, one pattern with one motif. q is Benjamini-Hochberg over all pairs.

    Parameters
    ----------
    patterns : mapping of str to ndarray (length, 4)
        Probabilities.
    motifs : mapping of str to ndarray (length, 4)
        Probabilities, as :func:`chromtransfer_plugin.motifs.read_motifs` gives them. They are compared untrimmed.
    q_threshold : float
        Matches with a smaller q are ``named``, if their similarity is 0.5 or more: flat columns inside a core match those
        of long motifs just as well as letters match letters.
    n_best : int
        Rows per pattern.
    trim : bool
        Compare only the core of each pattern (:func:`core`). Flat columns would match the flat stretches of long motifs:
        twelve columns of nothing "are" the spacer of a 35 bp CTCF motif with q = 0.003.

    Returns
    -------
    DataFrame
        Columns ``MATCH_COLUMNS``, ``n_best`` rows per pattern in the order of ``patterns``, best first (rank 1):
        core_start and core_end (columns of the pattern that were compared), motif, strand (that of the motif), offset
        (column of the pattern under which the first column of the motif, on that strand, lies; may be negative), overlap
        (columns compared), similarity (cosine of the aligned matrices minus a quarter, 1 = equal), p_value, q_value, named.
        A pattern whose core has fewer than 4 columns has one row without a motif.

    Raises
    ------
    ChromTransferError
        If a matrix is not of probabilities or an option is unusable.
    """
    if not 0 < q_threshold <= 1 or n_best < 1:
        raise ChromTransferError(
            f"matching: q_threshold={q_threshold!r}, n_best={n_best!r}: expected a q above 0 and at most 1, and at "
            "least one match for each pattern."
        )
    targets = {name: _checked("motif", name, matrix) for name, matrix in motifs.items()}
    if not targets:
        raise ChromTransferError("motifs: there are none to match with.")
    queries = {name: _checked("pattern", name, matrix) for name, matrix in patterns.items()}
    ends = {name: core(matrix) if trim else (0, len(matrix)) for name, matrix in queries.items()}
    cores = {name: m[slice(*ends[name])] for name, m in queries.items() if np.diff(ends[name])[0] >= MIN_CORE}
    p, columns, width, minus = _tomtom(list(cores.values()), list(targets.values()))
    q = _adjusted(p)
    names, rows = list(targets), []
    place = {name: i for i, name in enumerate(cores)}
    for name, (first, last) in ends.items():
        start = {"pattern": name, "core_start": first, "core_end": last}
        if name not in place:
            rows.append({**start, "rank": 1, "overlap": 0, "named": False})
            continue
        i = place[name]
        for rank, j in enumerate(np.argsort(p[i], kind="stable")[:n_best], 1):
            motif = targets[names[j]][::-1, ::-1] if minus[i, j] else targets[names[j]]
            offset = first - int(columns[i, j])
            alike = aligned_similarity(cores[name], motif, offset - first)
            named = bool(q[i, j] < q_threshold and alike >= LEAST_SIMILARITY)
            rows.append(
                {
                    **start, "rank": rank, "motif": names[j], "strand": "-" if minus[i, j] else "+",
                    "offset": offset, "overlap": int(width[i, j]),
                    "similarity": alike, "p_value": p[i, j], "q_value": q[i, j], "named": named,
                }
            )  # fmt: skip
    table = pd.DataFrame(rows, columns=list(MATCH_COLUMNS))
    kinds = dict.fromkeys(("core_start", "core_end", "rank", "offset", "overlap"), "Int64")
    floats = dict.fromkeys(("similarity", "p_value", "q_value"), "float64")
    return table.astype({**kinds, **floats, "pattern": "str", "motif": "str", "strand": "str", "named": bool})


def aligned_similarity(a: NDArray[Any], b: NDArray[Any], offset: int) -> float:
    """Cosine of two matrices minus a quarter, ``b`` beginning at column ``offset`` of ``a``; nothing is 0."""
    low, high = min(0, offset), max(len(a), offset + len(b))
    pad = np.zeros((2, high - low, 4))
    pad[0, -low : len(a) - low] = a - 0.25
    pad[1, offset - low : offset - low + len(b)] = b - 0.25
    norm = float(np.linalg.norm(pad[0]) * np.linalg.norm(pad[1]))
    return float((pad[0] * pad[1]).sum()) / norm if norm else 0.0


def best_similarity(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Largest :func:`aligned_similarity` over all placements on both strands."""
    return max(
        aligned_similarity(a, other, offset)
        for other in (b, b[::-1, ::-1])
        for offset in range(1 - len(b), len(a))
    )


def _tomtom(
    queries: list[NDArray[np.float64]], targets: list[NDArray[np.float64]]
) -> tuple[NDArray[np.float64], ...]:
    """P, the oriented target's column under the query's first one, overlap, and whether the target is reversed."""
    if not queries:
        return tuple(np.zeros((4, 0, len(targets))))
    if len(targets) < _FEW_MOTIFS:
        warnings.warn(
            f"Only {len(targets)} motifs to match with: TOMTOM takes its background from them, so P and q are unreliable "
            f"with fewer than {_FEW_MOTIFS}. Use a whole collection such as JASPAR2022.",
            ChromTransferWarning,
            stacklevel=4,
        )
    from memelite import tomtom

    with torch_threads_kept(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="tomtom was given")
        p, _, column, overlap, strand = tomtom([m.T for m in queries], [m.T for m in targets])
    # the smaller strand's P is adjusted for two strands, but rounding leaves some just above 1 or below 0
    return np.clip(p, 0, 1), column, overlap, strand.astype(bool)


def _adjusted(p: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.stats import false_discovery_control

    return false_discovery_control(p.ravel()).reshape(p.shape) if p.size else p


def _checked(kind: str, name: str, matrix: NDArray[Any]) -> NDArray[np.float64]:
    matrix = np.asarray(matrix, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[1] != 4 or not len(matrix):
        raise ChromTransferError(
            f"{kind} '{name}': shape {matrix.shape}, expected (length, 4), columns A, C, G, T."
        )
    if not ((matrix >= 0).all() and (abs(matrix.sum(axis=1) - 1) < 0.02).all()):  # False for NaN too
        raise ChromTransferError(f"{kind} '{name}': expected probabilities, four in a row that sum to 1.")
    return matrix
