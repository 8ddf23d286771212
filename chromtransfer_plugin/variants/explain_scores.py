"""Attribution of both alleles of a variant by one output of a predictor: mean over members and strands."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.attribution.gradients import gradient_x_input
from chromtransfer_plugin.attribution.mutagenesis import ism
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.prediction.names import NamedModel
from chromtransfer_plugin.variants.explain_alleles import AlleleScores, Variant, bases_around
from chromtransfer_plugin.variants.models import Predictor
from chromtransfer_plugin.variants.scorer import Settings
from chromtransfer_plugin.variants.windows import ALLELES, allele_windows, window_starts

ExplainMethod = Literal["ism", "gradient-x-input"]
METHOD_NAMES: dict[ExplainMethod, str] = {
    "ism": "mutagenesis: logit − mean of the four bases",
    "gradient-x-input": "gradient × input (logit)",
}


def check_method(method: str) -> None:
    """Raise if a method of attribution is not one of those that explain variants."""
    if method not in METHOD_NAMES:
        raise ChromTransferError(
            f"variants: method '{method}' is unknown, use one of {', '.join(METHOD_NAMES)}."
        )


def attribute_alleles(
    row: pd.DataFrame,
    predictor: Predictor,
    output: int,
    genome: Genome,
    settings: Settings,
    method: ExplainMethod,
    reach: int,
    shift: int,
    device: str,
) -> tuple[AlleleScores, AlleleScores]:
    """Attribute one output's logit to the bases of REF and ALT.

    The logit that scores a variant is the mean over strands and members, and so are these scores: a base that one of
    the windows does not hold counts 0 there.

    Parameters
    ----------
    row : DataFrame
        One variant.
    predictor : Predictor
    output : int
        Which of its outputs.
    genome : Genome
    settings : Settings
        Of the scores.
    method : {"ism", "gradient-x-input"}
        ``ism``: the logit with the base that is there minus the mean of the logits with each of the four.
        Either way a base that raises the output is above 0.
    reach : int
        bp on either side of the alleles.
    shift : int
        bp by which the windows are moved.
    device : str
    """
    variant = Variant.of(row.iloc[0])
    found = []
    for number, allele in enumerate(ALLELES):
        codes = bases_around(genome, variant, number, reach)
        low = variant.start - reach
        total, known = np.zeros(len(codes)), np.zeros(len(codes), dtype=bool)
        for strand in settings.strands:
            window = allele_windows(genome, row, allele, settings.width, strand, shift)
            begin = int(window_starts(row, allele, settings.width, strand, shift)[0])
            first, last = max(low, begin), min(low + len(codes), begin + settings.width)
            if first >= last:  # a long allele of which the window holds the middle
                continue
            inside = (first - begin, last - begin)
            if strand == "-":
                inside = (settings.width - inside[1], settings.width - inside[0])
            scores = np.mean(
                [_scores(member, window, inside, output, method, device) for member in predictor.members],
                axis=0,
            )
            here = slice(first - low, last - low)
            total[here] += (scores if strand == "+" else scores[::-1]) / len(settings.strands)
            known[here] = True
        found.append(AlleleScores(low, codes, np.where(known, total, np.nan)))
    return found[0], found[1]


def _scores(
    member: NamedModel,
    window: NDArray[np.uint8],
    inside: tuple[int, int],
    output: int,
    method: ExplainMethod,
    device: str,
) -> NDArray[np.float64]:
    """Scores of the positions ``[inside[0], inside[1])`` of one window (1, width)."""
    start, end = inside
    activation = member.card.activation
    if method == "gradient-x-input":
        every = gradient_x_input(
            member.network, window, output="logit", activation=activation, target=output, device=device
        )
        return np.asarray(every[0, start:end], dtype=np.float64)
    deltas = ism(
        member.network, window, output="logit", activation=activation, target=output, raw=True, start=start,
        end=end, device=device,
    )[0].astype(np.float64)  # fmt: skip
    return np.asarray(-deltas.mean(axis=0))  # the base that is there has 0
