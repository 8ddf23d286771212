"""What the tests of explained variants share: a sequence with a word and a repeat, and tables of variants on it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.variants.placing import place

COMPLEMENT = str.maketrans("ACGT", "TGCA")
WORD = "CCATTGTTAC"  # of the motif in the tests; its best word


def make_text() -> str:
    """Random sequence of changing composition, with the word at 1000 and a repeat."""
    rng = np.random.default_rng(3)
    made = "".join("".join(rng.choice(list("ACGT"), 500, p=rng.dirichlet(np.ones(4)))) for _ in range(6))
    return made[:1000] + WORD + made[1000:1300] + "GTCACACACACACACAGT" + made[1300:]


def rows(genome: Genome, *variants: tuple[int, str, str], swapped: bool = False) -> pd.DataFrame:
    """Variants given as in a VCF."""
    made = []
    for pos, ref, alt in variants:
        found = place(genome, "chr1", pos, *((alt, ref) if swapped else (ref, alt)))
        made.append({"chrom": "chr1", "pos": pos, "id": ".", "ref": ref, "alt": alt, "flags": int(swapped)})
        made[-1] |= {**found._asdict(), "swapped": swapped}
    return pd.DataFrame(made)


KINDS = ["snv", "insertion", "deletion", "repeat"]


def variant(text: str, kind: str) -> tuple[int, str, str]:
    at = 1500  # 0-based
    other = "ACGT"[("ACGT".index(text[at]) + 1) % 4]
    return {
        "snv": (at + 1, text[at], other),
        "insertion": (at + 1, text[at], text[at] + "GATTACA"),
        "deletion": (at + 1, text[at : at + 6], text[at]),
        "repeat": (text.index("GTCACACACACACACAGT") + 3, "CAC", "C"),
    }[kind]
