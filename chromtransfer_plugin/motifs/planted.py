"""Whether an analysis of motifs finds what was planted into a simulated genome, and nothing else."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.motifs.enrichment import FDR
from chromtransfer_plugin.motifs.matrices import Matrices
from chromtransfer_plugin.motifs.threads import torch_threads_kept

UNLIKE = 0.05  # least TOMTOM P of a control with any planted motif
RELATED = 0.001  # largest TOMTOM P of a relative of a planted motif
LEAST_OWN, MOST_OTHER = 0.3, 0.25  # D in the motif's own line, |D| in the other
CONTROL_SHARE = 0.05  # of the controls may be significant


def similarity(motifs: Matrices, planted: Matrices, others: Matrices) -> pd.DataFrame:
    """Return TOMTOM's P of each motif (rows) with each planted motif (columns).

    P says how rarely a column pair is so similar among the columns of ``planted`` and ``others`` together, which should
    be all of a database.
    """
    from memelite import tomtom

    targets = [*planted.values(), *others.values()]
    with torch_threads_kept():
        p_values = tomtom([matrix.T for matrix in motifs.values()], [matrix.T for matrix in targets])[0]
    return pd.DataFrame(p_values[:, : len(planted)], index=list(motifs), columns=list(planted))


def control_motifs(
    planted: Matrices, shuffled: Collection[str], others: Matrices, each: int, seed: int
) -> Matrices:
    """Make motifs that were not planted: planted ones with their columns shuffled, unlike every planted one.

    Parameters
    ----------
    planted : dict of str to ndarray (length, 4)
    shuffled : collection of str
        Which of them are shuffled; a control has the composition and the information of one of these.
    others : dict of str to ndarray
        See :func:`similarity`.
    each : int
        Shuffles of each; those with a TOMTOM P below 0.05 with any planted motif are dropped.
    seed : int

    Returns
    -------
    dict of str to ndarray (length, 4)
        Called ``control NAME NUMBER``.
    """
    rng = np.random.default_rng(seed)
    made = {
        f"control {name} {number}": rng.permutation(planted[name])
        for name in shuffled
        for number in range(each)
    }
    nearest = similarity(made, planted, others).min(axis=1)
    return {name: matrix for name, matrix in made.items() if nearest[name] >= UNLIKE}


def touching(hits: pd.DataFrame, sites: pd.DataFrame) -> NDArray[np.bool_]:
    """Tell which hits share a base with a planted site; sites have chrom, start and end and do not overlap each other."""
    touched = np.zeros(len(hits), bool)
    for chrom, own in sites.groupby("chrom"):
        rows = np.flatnonzero(hits["chrom"].astype(str).to_numpy() == str(chrom))
        own = own.sort_values("start")
        before = (
            np.searchsorted(own["start"], hits["end"].to_numpy()[rows]) - 1
        )  # last site that begins before the end
        ends = own["end"].to_numpy()[before]
        touched[rows] = (before >= 0) & (ends > hits["start"].to_numpy()[rows])
    return touched


class PlantedCheck(NamedTuple):
    """What :func:`check_planted` found.

    Attributes
    ----------
    motifs : DataFrame
        One row per planted motif of a line: line, motif, n, D, FDR and rank (1 = highest) in each model, diff.D.
    controls : dict
        tested, significant, read (significant with D above 0 in a model) and largest_D.
    problems : list of str
        What is not as planted; empty if all is.
    """

    motifs: pd.DataFrame
    controls: dict[str, float]
    problems: list[str]


def check_planted(
    table: pd.DataFrame, planted: Mapping[str, Collection[str]], controls: Collection[str], fdr: float = FDR
) -> PlantedCheck:
    """Compare an enrichment of two models with what was planted.

    Expected is: the motifs of a line rank first by D in its model and by the difference; each has D of at least 0.3 and an
    FDR below ``fdr`` there, and D within 0.25 of 0 in the other model; no control is significant with D above 0, and at
    most 5 % of the controls are significant at all.

    Parameters
    ----------
    table : DataFrame
        From :func:`~chromtransfer_plugin.motifs.enrichment.enrichment` with models A and B, of planted motifs and controls.
    planted : mapping of str to collection of str
        Motifs by line; the lines are A and B, in this order, which are also the names of the models.
    controls : collection of str
        Motifs that were not planted. Those with too few sites are not in the table.
    fdr : float

    Returns
    -------
    PlantedCheck
    """
    lines = list(planted)
    if len(lines) != 2:
        raise ChromTransferError(f"planted: the motifs of {len(lines)} lines, expected two.")
    table = table.set_index("motif")
    problems = []
    rows = []
    for line, other, sign in zip(lines, reversed(lines), (1, -1), strict=True):
        names = [name for name in planted[line] if name in table.index]
        problems += [f"{name}: too few sites" for name in planted[line] if name not in table.index]
        for model, what in ((line, table[f"{line}.D"]), (f"{lines[0]} - {lines[1]}", sign * table["diff.D"])):
            first = what.sort_values(ascending=False).index[: len(names)]
            if set(first) != set(names):
                problems.append(f"first by D of {model}: {', '.join(first)} (expected {', '.join(names)})")
        ranks = {model: table[f"{model}.D"].rank(ascending=False) for model in lines}
        for name in names:
            own = table.loc[name]
            row: dict[str, Any] = {"line": line, "motif": name, "n": int(table["n"][name])}
            for model in lines:
                row |= {f"{model}.D": own[f"{model}.D"], f"{model}.fdr": own[f"{model}.fdr"]}
                row[f"{model}.rank"] = int(ranks[model][name])
            rows.append(row | {"diff.D": own["diff.D"]})
            if not (own[f"{line}.D"] >= LEAST_OWN and own[f"{line}.fdr"] < fdr):
                problems.append(
                    f"{name}: D in {line} is {own[f'{line}.D']:.3f}, FDR {own[f'{line}.fdr']:.1e}"
                )
            if not abs(own[f"{other}.D"]) <= MOST_OTHER:
                problems.append(f"{name}: D in {other} is {own[f'{other}.D']:.3f}, not near 0")
    tested = table.loc[table.index.isin(list(controls))]
    read = pd.concat([(tested[f"{m}.fdr"] < fdr) & (tested[f"{m}.D"] > 0) for m in lines], axis=1).any(axis=1)
    if not len(tested):
        problems.append("controls: none has enough sites")
    if read.any():
        problems.append(f"controls that look like motifs: {', '.join(tested[read].index)}")
    if tested["sig"].sum() > CONTROL_SHARE * len(tested):
        problems.append(f"controls: {int(tested['sig'].sum())} of {len(tested)} are significant")
    distances = tested[[f"{model}.D" for model in lines]].to_numpy(np.float64)
    largest = float(distances.max()) if len(tested) else float("nan")
    counts = {
        "tested": len(tested),
        "significant": int(tested["sig"].sum()),
        "read": int(read.sum()),
        "largest_D": largest,
    }
    return PlantedCheck(pd.DataFrame(rows), counts, problems)


def check_relatives(
    table: pd.DataFrame, planted: Mapping[str, Collection[str]], p_values: pd.DataFrame
) -> list[str]:
    """Say where a motif that is no relative of a line's planted ones comes first in an enrichment with other motifs.

    Parameters
    ----------
    table : DataFrame
        Enrichment of models A and B, the two lines of ``planted``.
    planted : mapping of str to collection of str
        Motifs by line.
    p_values : DataFrame
        :func:`similarity` of the motifs of the table with the planted ones.

    Returns
    -------
    list of str
        Problems; empty if the first motif by D of each model, and both ends of the difference, are relatives.
    """
    a, b = planted
    table = table.set_index("motif")
    ends: dict[str, tuple[Any, str]] = {
        f"{a}.D": (table[f"{a}.D"].idxmax(), a),
        f"{b}.D": (table[f"{b}.D"].idxmax(), b),
        "diff.D, highest": (table["diff.D"].idxmax(), a),
        "diff.D, lowest": (table["diff.D"].idxmin(), b),
    }
    return [
        f"{what}: {motif} is unlike the motifs of {line}"
        for what, (motif, line) in ends.items()
        if p_values[list(planted[line])].min(axis=1)[motif] > RELATED
    ]
