"""Data sets of the lines: positives are open in one line alone; negatives are drawn from the other regions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.preparation.calls import BACKGROUND, Called
from chromtransfer_plugin.preparation.config import DatasetConfig
from chromtransfer_plugin.preparation.drawing import Drawing
from chromtransfer_plugin.preparation.ledger import Ledger

UNIVERSAL = "Negative"
COLUMNS = ("chrom", "start", "end", "label", "name", "status", "region_start", "region_end")


def line_sets(
    config: DatasetConfig, called: Called, drawing: Drawing, ledger: Ledger
) -> dict[str, pd.DataFrame]:
    """Make the set of each line.

    Parameters
    ----------
    config : DatasetConfig
    called : Called
    drawing : Drawing
    ledger : Ledger

    Returns
    -------
    dict of str to DataFrame
        Windows by place; ``label`` is the line, ``LINE_NEG`` or ``Negative``, as in the published files.

    Raises
    ------
    ChromTransferError
        If a line has no positives, or too few regions are left for its negatives.
    """
    lines = list(config.lines)
    status = called.table["status"]
    positives = {line: np.flatnonzero(status == line) for line in lines}
    for number, line in enumerate(lines):
        _require_positives(called.open, number, lines, len(positives[line]))
    background = np.flatnonzero(status == BACKGROUND)
    if config.negatives.universal > len(background):
        raise ChromTransferError(
            f"negatives.universal: {config.negatives.universal:,} regions are wanted, {len(background):,} are open in "
            "no line. Ask for fewer."
        )
    universal = drawing.draw("universal negatives", background, config.negatives.universal)
    background = np.setdiff1d(background, universal, assume_unique=True)
    features = drawing.features(called.table)
    sets = {}
    for line in lines:
        others = np.sort(
            np.concatenate([positives[other] for other in lines if other != line] or [background[:0]])
        )
        n_others, n_background = _wanted(config, line, len(positives[line]), len(others), len(background))
        like = None if features is None else features[positives[line]]
        chosen = {
            line: positives[line],
            f"{line}_NEG": np.concatenate(
                [
                    drawing.draw(
                        f"{line}: {kind}", pool, n, like, None if features is None else features[pool]
                    )
                    for kind, pool, n in (
                        ("positives of other lines", others, n_others),
                        ("background", background, n_background),
                    )
                ]
            ),
            UNIVERSAL: universal,
        }
        _count(
            ledger,
            line,
            called.open[:, lines.index(line)],
            len(positives[line]),
            n_others,
            n_background,
            len(universal),
        )
        sets[line] = _labelled(called.table, chosen)
    return sets


def _require_positives(opened: NDArray[np.bool_], number: int, lines: Sequence[str], n: int) -> None:
    if n:
        return
    mine = opened[:, number]
    name, n_open = lines[number], int(mine.sum())
    if n_open == 0:
        raise ChromTransferError(
            f"{name}: has no positives: none of {len(mine):,} regions is open in it. Is the file of this assembly? "
            "Else lower `calls.threshold` (signal) or `calls.min_overlap` (peaks)."
        )
    shared = {other: int((mine & opened[:, i]).sum()) for i, other in enumerate(lines) if i != number}
    text = ", ".join(
        f"{count:,} also open in {other}" for other, count in sorted(shared.items(), key=lambda x: -x[1])
    )
    raise ChromTransferError(
        f"{name}: has no positives: of {len(mine):,} regions {n_open:,} are open in it, and every one is open in another "
        f"line, too ({text}). Leave out the line that is too much alike, or raise `calls.threshold`."
    )


def _wanted(
    config: DatasetConfig, line: str, n_positives: int, n_others: int, n_background: int
) -> tuple[int, int]:
    """How many negatives come from positives of other lines and from the background."""
    ratio = config.lines[line].ratio or config.negatives.ratio
    # One line alone has no others to draw from.
    share = config.negatives.from_other_lines if len(config.lines) > 1 else 0.0
    n_universal = config.negatives.universal
    rest = round(ratio * n_positives) - n_universal
    if rest + n_universal == 0:
        raise ChromTransferError(
            f"{line}: {n_positives:,} positives at a ratio of {ratio:g} have no negatives at all. Raise the ratio to "
            f"{1 / n_positives:.4g} or more."
        )
    if rest < 0:
        raise ChromTransferError(
            f"{line}: {n_positives:,} positives at a ratio of {ratio:g} have {round(ratio * n_positives):,} negatives, "
            f"fewer than the {n_universal:,} of `negatives.universal`. Lower that, or raise the ratio to "
            f"{n_universal / n_positives:.4g} or more."
        )
    wanted = round(share * rest), rest - round(share * rest)
    if wanted[0] > n_others or wanted[1] > n_background:
        at_most = min(
            [held / part for held, part in ((n_others, share), (n_background, 1 - share)) if part > 0]
        )
        largest = np.floor((at_most + n_universal) / n_positives * 1000) / 1000
        fix = (
            f"The largest possible ratio is {largest:g} with `from_other_lines: {share:g}`."
            if largest > 0
            else "Give `regions` that go beyond those open in the lines (such as ENCODE's rDHSs)"
            + (", or take positives of other lines alone: `from_other_lines: 1`." if n_others else ".")
        )
        raise ChromTransferError(
            f"{line}: the ratio {ratio:g} cannot be reached: its {n_positives:,} positives need {wanted[1]:,} regions that "
            f"are open in no line, and {n_background:,} are there; and {wanted[0]:,} positives of other lines, and "
            f"{n_others:,} are there. {fix}"
        )
    return wanted


def _count(
    ledger: Ledger,
    line: str,
    opened: NDArray[np.bool_],
    n_positives: int,
    n_others: int,
    n_background: int,
    n_universal: int,
) -> None:
    ledger.count(line, "open", int(opened.sum()))
    ledger.count(line, "open in no other line: positives", n_positives)
    ledger.count(line, f"{line}_NEG from positives of other lines", n_others)
    ledger.count(line, f"{line}_NEG from regions open in no line", n_background)
    if n_universal:
        ledger.count(line, f"{UNIVERSAL}, the same in all lines", n_universal)


def _labelled(table: pd.DataFrame, chosen: dict[str, NDArray[np.int64]]) -> pd.DataFrame:
    rows = np.concatenate(list(chosen.values()))
    labels = np.repeat(np.arange(len(chosen)), [len(some) for some in chosen.values()])
    order = np.argsort(rows, kind="stable")
    found = table.iloc[rows[order]].reset_index(drop=True)
    return found.assign(label=np.array(list(chosen), dtype=object)[labels[order]])[list(COLUMNS)]
