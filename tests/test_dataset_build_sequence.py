"""What `chromtransfer dataset build` does with the sequence: matched negatives, folds by homology."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from preparation_cases import LINES, SIZES, build, funnel, table, write_inputs

from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.preparation.matching import composition


@pytest.fixture
def inputs(tmp_path):
    write_inputs(tmp_path)
    return tmp_path


@pytest.mark.parametrize("how", ["gc", "dinucleotide"])
def test_matched_negatives_are_composed_like_the_positives(inputs, how):
    """The windows of one line are made rich in G and C; unmatched negatives are not."""
    build(inputs, "plain", pretraining=None)
    genome = Genome(inputs / "genome.fa")
    sequences = {name: list(genome.sequence(name, 0, size)) for name, size in SIZES.items()}
    everything = table(inputs / "plain")
    rng = np.random.default_rng(0)
    for row in everything.itertuples():
        share = 0.6 if row.status == "A" or rng.random() < 0.4 else 0.4
        letters = rng.choice(list("GCAT"), 600, p=[share / 2, share / 2, (1 - share) / 2, (1 - share) / 2])
        sequences[row.chrom][row.start : row.end] = letters
    (inputs / "genome.fa").write_text("".join(f">{name}\n{''.join(s)}\n" for name, s in sequences.items()))
    genome = Genome(inputs / "genome.fa")
    gc = {}
    for match in ("none", how):
        manifest = build(inputs, match, pretraining=None, negatives={"ratio": 1.5, "match": match})
        found = table(inputs / match, "A")
        content = composition(genome.extract(found["chrom"], found["start"], 600))[:, 0]
        positive = (found["label"] == "A").to_numpy()
        gc[match] = content[positive].mean() - content[~positive].mean()
        assert bool(manifest.matching) == (match != "none")
    assert gc["none"] > 0.05
    assert abs(gc[how]) < 0.02
    assert manifest.matching["A: background"]["how"] == how


def test_matching_without_a_choice_is_noted(inputs):
    """A ratio that takes every tile; the negatives of the lines have a choice."""
    tiles = {"match": "gc", "distance": 500}
    plain = build(inputs, "plain", negatives={"ratio": 1}, pretraining={**tiles, "ratio": 0.3})
    assert not any("had no choice" in remark for remark in plain.remarks)
    n = funnel(plain, "pre-training")["tiles at least 500 bp from every region"]
    assert n < funnel(plain, "pre-training")["positives (open)"]  # without a ratio, all tiles are taken
    taken = build(inputs, "taken", negatives={"ratio": 1}, pretraining=tiles)
    assert [remark for remark in taken.remarks if "had no choice" in remark] == [
        f"pre-training tiles: all {n} there are were taken, so matching by gc had no choice; a smaller ratio leaves one"
    ]


def test_windows_of_one_sequence_are_in_one_fold(inputs):
    """Regions lie so near each other that each chromosome is one locus; a window of chr3 is made a copy of one of chr1."""
    split = {"test": ["chr2"], "folds": 2}
    build(inputs, "plain", pretraining=None, split=split)
    used = pd.concat([table(inputs / "plain", line) for line in LINES])
    one, two = (used.loc[used["chrom"] == chrom, "start"].iloc[0] for chrom in ("chr1", "chr3"))
    genome = Genome(inputs / "genome.fa")
    sequences = {name: genome.sequence(name, 0, size) for name, size in SIZES.items()}
    copied = sequences["chr1"][one : one + 600]
    sequences["chr3"] = sequences["chr3"][:two] + copied + sequences["chr3"][two + 600 :]
    (inputs / "genome.fa").write_text("".join(f">{name}\n{s}\n" for name, s in sequences.items()))
    together = {}
    for by in ("chromosome", "homology"):
        build(inputs, by, pretraining=None, split={**split, "by": by})
        found = pd.concat([table(inputs / by, line) for line in LINES])
        found = found[found["split"] == "train"]
        together[by] = sorted(found.groupby("fold")["chrom"].agg(lambda names: " ".join(sorted(set(names)))))
    assert together == {"chromosome": ["chr1", "chr3 chr4"], "homology": ["chr1 chr3", "chr4"]}
