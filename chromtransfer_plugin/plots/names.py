"""What figures call things: scores, motifs, numbers and files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

_METHODS = {
    "gradient-x-input": "gradient × input",
    "integrated-gradients": "integrated gradients",
    "deep-lift-shap": "DeepLIFT/SHAP",
    "ism": "mutagenesis, mutant − reference",
}
_LONGEST = 100  # characters of a file name
# A motif that is named as in JASPAR: its identifier and its name.
MATRIX_ID = re.compile(r"(MA\d+\.\d+)[ _]+(\S.*)")


def score_name(facts: Mapping[str, Any]) -> str:
    """Name the attribution of a base and its unit, e.g. ``gradient × input (logit)``.

    Parameters
    ----------
    facts : mapping
        Of an :class:`~chromtransfer_plugin.attribution.store.AttributionStore`: method and objective. A method that is
        not known here goes by its own name.
    """
    method = str(facts["method"])
    return f"{_METHODS.get(method, method)} ({facts['objective']})"


def site_score_name(facts: Mapping[str, Any], how: str) -> str:
    """Name the score of a motif's site, e.g. ``maximum gradient × input (logit)``."""
    return f"{'minimum' if how == 'min' else 'maximum'} {score_name(facts)}"


def upper_first(text: str) -> str:
    """Make the first letter a capital, and leave the others as they are."""
    return text[:1].upper() + text[1:]


def short_names(motifs: Iterable[str]) -> dict[str, str]:
    """Leave out the matrix identifiers of JASPAR where the rest still tells the motifs apart.

    ``MA0114.4 HNF4A`` becomes HNF4A; of two matrices of NR2F1 each is called ``NR2F1 (MA1537.1)``, with its own identifier.
    """
    parts = {motif: found.groups() for motif in motifs if (found := MATRIX_ID.fullmatch(motif))}
    count = Counter(name for _, name in parts.values())
    short = {}
    for motif in motifs:
        identifier, name = parts.get(motif, ("", motif))
        short[motif] = f"{name} ({identifier})" if identifier and count[name] > 1 else name
    return short


def file_names(motifs: Iterable[str]) -> dict[str, str]:
    """Make a file name (without suffix) of each motif or model: other characters than letters, digits, ``.+-`` become ``_``.

    The names differ also where capitals do not count, as on the disks of macOS and Windows, and have at most some 100
    characters.
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for motif in motifs:
        name = stem = re.sub(r"[^A-Za-z0-9.+-]+", "_", motif)[:_LONGEST].strip("._") or "unnamed"
        number = 1
        while name.lower() in taken:
            number += 1
            name = f"{stem}_{number}"
        taken.add(name.lower())
        names[motif] = name
    return names


def in_words(number: float) -> str:
    """Write an FDR or P-value shortly: ``= 0.013``, ``= 2e-31``, or ``< 1e-300`` for what is too small to tell from 0."""
    if number != number:
        return "not known"
    if number < 1e-300:
        return "< 1e-300"
    return f"= {number:.2g}"


def signed(number: float, digits: str = ".2f") -> str:
    """Write a number with a minus sign as wide as a plus."""
    return f"{number:{digits}}".replace("-", "−") if number == number else "not known"
