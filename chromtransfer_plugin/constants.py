"""Plain constants of the domain, importable without any dependency."""

from __future__ import annotations

WINDOW = 600  # bp; paper, Methods: "600 bp centred on the rDHS midpoint"
TEST_CHROMOSOMES = ("chr2", "chr3")  # paper, Methods
CELL_LINES = ("A549", "GM12878", "HCT116", "HEPG2", "K562", "MCF7")  # paper; order of the multi-class outputs
CITATION = "https://doi.org/10.1093/nargab/lqad026"
SEED = 1
