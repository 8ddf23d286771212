"""The simulated data: planted truth is where it is said to be, labels follow the grammar, seeds repeat."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from chromtransfer_plugin.constants import TEST_CHROMOSOMES
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.onehot import encode, reverse_complement_codes
from chromtransfer_plugin.simulate import (
    CONSTITUTIVE_MOTIFS,
    ENHANCER_MOTIFS,
    LINE_MOTIFS,
    SimulatedData,
    jaspar_matrix,
    planted_mask,
    simulate,
)

SMALL = {"n_open": 300, "n_closed": 300, "n_line_positives": 60, "n_line_other_open": 60, "n_line_closed": 30}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> SimulatedData:
    return simulate(tmp_path_factory.mktemp("simulated"), **SMALL)


@pytest.fixture(scope="module")
def contigs(data: SimulatedData) -> dict[str, str]:
    records = data.genome.read_text().split(">")[1:]
    return {r.split("\n", 1)[0]: r.split("\n", 1)[1].replace("\n", "") for r in records}


def table(path: Path) -> pd.DataFrame:
    parts = pd.read_csv(path, header=None, names=["region", "label"])
    out = parts["region"].str.extract(r"^(?P<chrom>\w+):(?P<start>\d+)-(?P<end>\d+)$")
    return out.assign(start=out["start"].astype(int), end=out["end"].astype(int), label=parts["label"])


def groups_inside(regions: pd.DataFrame, sites: pd.DataFrame) -> list[set[str]]:
    return [
        set(sites.loc[(sites["chrom"] == c) & (sites["start"] >= s) & (sites["end"] <= e), "group"])
        for c, s, e in regions[["chrom", "start", "end"]].itertuples(index=False)
    ]


def test_same_seed_same_bytes_other_seed_other_bytes(data: SimulatedData, tmp_path: Path) -> None:
    simulate(tmp_path / "again", **SMALL)
    simulate(tmp_path / "other", seed=2, **SMALL)
    names = sorted(p.name for p in data.folder.iterdir())
    assert names == ["HEPG2.csv", "K562.csv", "genome.fa", "planted_motifs.tsv", "pretrain.csv"]
    for name in names:
        first = (data.folder / name).read_bytes()
        assert (tmp_path / "again" / name).read_bytes() == first
        assert (tmp_path / "other" / name).read_bytes() != first


@pytest.mark.filterwarnings("ignore:Zero motifs")
def test_jaspar_matrices_are_the_classical_ones() -> None:
    ctcf = jaspar_matrix("CTCF")
    assert ctcf.shape == (4, 19)
    np.testing.assert_allclose(ctcf.sum(axis=0), 1)
    assert "".join("ACGT"[i] for i in ctcf.argmax(axis=0)) == "TGGCCACCAGGGGGCGCTA"  # MA0139.1
    with pytest.raises(ChromTransferError, match="no motif named 'NOPE'"):
        jaspar_matrix("NOPE")


def test_planted_sites_are_in_the_genome_on_their_strand(
    data: SimulatedData, contigs: dict[str, str]
) -> None:
    own, shifted, flipped = [], [], []
    for chrom, start, end, strand, motif in data.sites.iloc[:, :5].itertuples(index=False):
        log_odds = np.log2(np.vstack([jaspar_matrix(motif) + 1e-3, np.full(end - start, 0.25)]) / 0.25)

        def score(at: int, forward: bool, chrom: str = chrom, log_odds: np.ndarray = log_odds) -> float:
            codes = encode(contigs[chrom][at : at + log_odds.shape[1]])
            codes = codes if forward else reverse_complement_codes(codes)
            return float(log_odds[codes, np.arange(len(codes))].sum())

        own.append(score(start, strand == "+"))
        shifted.append(score(start + 1, strand == "+"))
        flipped.append(score(start, strand != "+"))
    assert min(own) > 0  # every site is more likely under its matrix than under the background
    assert np.mean(own) > 11  # bits, about the information content of the matrices
    assert np.mean(shifted) < -5
    assert np.mean(flipped) < 0
    assert set(data.sites["strand"]) == {"+", "-"}


def test_planted_sites_never_overlap_and_lie_in_the_middle_of_a_window(data: SimulatedData) -> None:
    for _, sites in data.sites.groupby("chrom"):
        spans = sites[["start", "end"]].to_numpy().tolist()
        assert all(a[1] <= b[0] for a, b in pairwise(spans))
    windows = pd.concat([table(p) for p in (data.pretrain, *data.lines.values())]).drop_duplicates(
        ["chrom", "start"]
    )
    mask = planted_mask(data.sites, windows)
    assert mask.sum() == (data.sites["end"] - data.sites["start"]).sum()
    assert not mask[:, :150].any()
    assert not mask[:, 450:].any()


def test_table_on_disk_is_the_planted_truth(data: SimulatedData) -> None:
    written = pd.read_csv(data.planted_motifs, sep="\t")
    pd.testing.assert_frame_equal(written, data.sites, check_dtype=False)
    assert list(written) == ["chrom", "start", "end", "strand", "motif", "group"]
    assert set(written["group"]) == {"shared", "decoy", *LINE_MOTIFS}


def test_labels_follow_the_grammar(tmp_path: Path) -> None:
    data = simulate(tmp_path, noise_rate=0.0, **SMALL)
    pretrain = table(data.pretrain)
    assert pretrain["label"].value_counts().to_dict() == {"open": 300, "closed": 300}
    groups = pd.Series(groups_inside(pretrain, data.sites))
    is_open = pretrain["label"] == "open"
    assert all("shared" in g and "decoy" not in g for g in groups[is_open])
    through_line = groups[is_open].map(lambda g: bool(g & set(LINE_MOTIFS))).mean()
    assert through_line == pytest.approx(0.6, abs=0.09)  # three standard errors
    assert all(g <= {"decoy"} for g in groups[~is_open])
    with_decoy = groups[~is_open].map(bool).mean()
    assert with_decoy == pytest.approx(1 - 0.8**2, abs=0.09)
    for line, path in data.lines.items():
        regions = table(path)
        expected = {line: 60, f"{line}_NEG": 60, "Negative": 30}
        assert regions["label"].value_counts().to_dict() == expected
        groups = pd.Series(groups_inside(regions, data.sites))
        assert all(g == {line, "shared"} for g in groups[regions["label"] == line])
        others = groups[regions["label"] == f"{line}_NEG"]
        assert all("shared" in g and line not in g for g in others)
        assert any(g - {"shared"} for g in others)  # some are open through the other line's motifs
        assert all(g <= {"decoy"} for g in groups[regions["label"] == "Negative"])


def test_noise_plants_what_misleads(tmp_path: Path) -> None:
    data = simulate(tmp_path, noise_rate=1.0, **SMALL)
    assert set(data.sites["group"]) == {"decoy", "shared"}
    pretrain = table(data.pretrain)
    planted = planted_mask(data.sites, pretrain).sum(axis=1)
    is_open = (pretrain["label"] == "open").to_numpy()
    assert (planted[is_open] == 0).all()
    assert (planted[~is_open] >= 5 * 9).all()  # at least five sites of at least 9 bp
    for line, path in data.lines.items():
        regions = table(path)
        positives = regions[regions["label"] == line]
        assert len(positives) == 60
        assert all(g == {"shared"} for g in groups_inside(positives, data.sites))


def test_sets_share_windows_as_in_the_paper(data: SimulatedData) -> None:
    def windows(path: Path, label: str) -> set[tuple[str, int]]:
        rows = table(path)
        return set(rows.loc[rows["label"] == label, ["chrom", "start"]].itertuples(index=False, name=None))

    opened, closed = windows(data.pretrain, "open"), windows(data.pretrain, "closed")
    hepg2, k562 = (windows(data.lines[line], line) for line in ("HEPG2", "K562"))
    assert not (hepg2 | k562) & (opened | closed)  # positives of a line are not pre-trained on
    assert not hepg2 & k562
    assert windows(data.lines["HEPG2"], "HEPG2_NEG") <= opened | k562
    negatives = windows(data.lines["HEPG2"], "Negative")
    assert negatives == windows(data.lines["K562"], "Negative")
    assert negatives < closed


def test_windows_are_disjoint_free_of_n_and_on_every_contig(
    data: SimulatedData, contigs: dict[str, str]
) -> None:
    windows = pd.concat([table(p) for p in (data.pretrain, *data.lines.values())]).drop_duplicates(
        ["chrom", "start"]
    )
    assert len(windows) == 300 + 300 + 2 * 60
    for chrom, rows in windows.groupby("chrom"):
        spans = rows.sort_values("start")[["start", "end"]].to_numpy()
        assert (spans[:, 1] - spans[:, 0] == 600).all()
        assert (spans[1:, 0] >= spans[:-1, 1]).all()
        assert not any("N" in contigs[str(chrom)][s:e] for s, e in spans)
    assert set(windows["chrom"]) == set(contigs) == {f"chr{i}" for i in range(1, 7)}
    assert windows["chrom"].isin(TEST_CHROMOSOMES).mean() == pytest.approx(0.30, abs=0.01)


def test_background_is_soft_masked_cpg_depleted_and_has_n(contigs: dict[str, str]) -> None:
    text = "".join(contigs.values())
    assert set(text) == set("ACGTNacgt")
    assert sum(map(str.islower, text)) / len(text) == pytest.approx(0.055, abs=0.03)
    assert all(c.startswith("N") and c.endswith("N") and "N" in c.strip("N") for c in contigs.values())
    upper = text.upper().replace("N", "")
    gc = sum(map(upper.count, "GC")) / len(upper)
    assert 0.38 < gc < 0.48
    cpg = upper.count("CG") * len(upper) / (upper.count("C") * upper.count("G"))
    assert 0.2 < cpg < 0.5


def test_gc_preference_moves_open_windows_only_a_little(data: SimulatedData, contigs: dict[str, str]) -> None:
    regions = table(data.pretrain)
    gc = np.array(
        [
            np.isin(encode(contigs[c][s:e]), (1, 2)).mean()
            for c, s, e in regions[["chrom", "start", "end"]].itertuples(index=False)
        ]
    )
    is_open = (regions["label"] == "open").to_numpy()
    shift = gc[is_open].mean() - gc[~is_open].mean()
    assert 0.01 < shift < 1.5 * gc[~is_open].std()


def test_planted_mask_by_hand() -> None:
    sites = pd.DataFrame(
        [
            ("chr1", 100, 103, "+", "A", "shared"),
            ("chr1", 108, 112, "-", "B", "K562"),
            ("chr2", 0, 9, "+", "A", "x"),
        ],
        columns=["chrom", "start", "end", "strand", "motif", "group"],
    )
    regions = pd.DataFrame({"chrom": ["chr1", "chr3"], "start": [101, 0], "end": [110, 9]})
    mask = planted_mask(sites, regions)
    assert np.flatnonzero(mask[0]).tolist() == [0, 1, 7, 8]
    assert not mask[1].any()
    assert np.flatnonzero(planted_mask(sites, regions, groups=["K562"])[0]).tolist() == [7, 8]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_open": 0}, "n_open must be at least 1, got 0"),
        ({"decoy_rate": 1.5}, "decoy_rate must lie between 0 and 1, got 1.5"),
        ({"noise_rate": -0.1}, "noise_rate must lie between 0 and 1, got -0.1"),
        ({"site_draws": 0}, "site_draws must be at least 1, got 0"),
        ({"n_line_closed": 301}, "only 300; raise n_closed"),
        ({"n_line_other_open": 400}, "n_line_other_open is 400, but only"),
    ],
)
def test_impossible_settings_are_named_and_write_nothing(tmp_path: Path, wrong: dict, message: str) -> None:
    with pytest.raises(ChromTransferError, match=message):
        simulate(tmp_path / "x", **{**SMALL, **wrong})
    assert not (tmp_path / "x").exists()


def test_motif_names_are_in_jaspar() -> None:
    for motifs in (CONSTITUTIVE_MOTIFS, ENHANCER_MOTIFS, *LINE_MOTIFS.values()):
        assert sum(motifs.values()) == pytest.approx(1)
        for name in motifs:
            assert 9 <= jaspar_matrix(name).shape[1] <= 19


def test_somebody_elses_genome_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "genome.fa").write_text(">mine\nACGT\n")
    with pytest.raises(ChromTransferError, match=r"holds genome\.fa, not from a simulation"):
        simulate(tmp_path, **SMALL)
    assert (tmp_path / "genome.fa").read_text() == ">mine\nACGT\n"
    (tmp_path / "file").write_text("x")
    with pytest.raises(ChromTransferError, match="cannot create this output folder"):
        simulate(tmp_path / "file" / "x", **SMALL)
