"""Signal at regions, z-scores, peaks and tiles, against one base at a time."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from genome_helpers import write_fasta, write_lines
from preparation_cases import write_bigwig

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.preparation import signal as signal_module
from chromtransfer_plugin.preparation.config import DatasetConfig
from chromtransfer_plugin.preparation.contigs import Contigs, chosen_contigs
from chromtransfer_plugin.preparation.ledger import Ledger
from chromtransfer_plugin.preparation.peaks import consensus_windows, covered_bases, merged, read_peaks
from chromtransfer_plugin.preparation.signal import region_signal, z_scores
from chromtransfer_plugin.tiles import away_from, genome_tiles

SIZES = {"chr1": 4_000, "chr2": 3_000}


def places(rows: list[tuple[str, int, int]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["chrom", "start", "end"])
    return table.assign(chrom=pd.Categorical(table["chrom"], categories=list(SIZES)))


def random_places(rng: np.random.Generator, n: int, longest: int) -> pd.DataFrame:
    rows = []
    for _ in range(n):
        chrom = rng.choice(list(SIZES))
        start = int(rng.integers(0, SIZES[chrom] - 1))
        rows.append((chrom, start, int(min(SIZES[chrom], start + rng.integers(1, longest)))))
    return places(rows)


@pytest.fixture
def random_signal(tmp_path):
    """A bigWig with holes, and its values base by base."""
    rng = np.random.default_rng(2)
    values = {name: np.zeros(size) for name, size in SIZES.items()}
    rows = []
    for name, size in SIZES.items():
        start = 40
        while start < size - 100:
            end = start + int(rng.integers(1, 90))
            value = float(np.float32(rng.gamma(0.5, 4)))
            rows.append((name, start, end, value))
            values[name][start:end] = value
            start = end + int(rng.choice([0, 0, 30, 200]))
    return write_bigwig(tmp_path / "x.bw", rows, SIZES), values


@pytest.mark.parametrize("statistic", ["mean", "max", "sum"])
@pytest.mark.parametrize(("span", "far"), [(4_000_000, 50_000), (300, 50_000), (4_000_000, 3)])
def test_signal_is_that_of_every_base(random_signal, statistic, span, far, monkeypatch):
    monkeypatch.setattr(signal_module, "_SPAN", span)
    monkeypatch.setattr(signal_module, "_FAR", far)
    path, values = random_signal
    table = random_places(np.random.default_rng(1), 300, 700)
    found = region_signal(path, table, statistic, "error")
    function = {"mean": np.mean, "max": np.max, "sum": np.sum}[statistic]
    wanted = [function(values[r.chrom][r.start : r.end]) for r in table.itertuples()]
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    assert (found == 0).sum() > 3  # some lie where the file has no data


def test_z_scores_are_over_the_regions_with_signal():
    found = z_scores(np.array([1.0, 100.0, 0.0, 10.0]), "x")
    np.testing.assert_allclose(found, [-np.sqrt(1.5), np.sqrt(1.5), -10, 0], atol=1e-12)


@pytest.mark.parametrize(
    ("values", "words"),
    [([0, 0], "no region has signal"), ([0, 3, 3], "all 2 regions with signal have the same")],
)
def test_signal_without_any_spread_has_no_z_score(values, words):
    with pytest.raises(ChromTransferError, match=f"x.bw: {words}"):
        z_scores(np.array(values, dtype=float), "x.bw")


def test_a_contig_with_many_regions_and_no_data_is_lacking(tmp_path):
    rows = [
        ("chr1", 0, 4_000, 2.0),
        ("chr2", 2_900, 2_950, 1.0),
    ]  # chr2 is listed, but silent where regions are
    path = write_bigwig(tmp_path / "x.bw", rows, SIZES)
    many = places([("chr1", 5, 10)] + [("chr2", i, i + 9) for i in range(20)])
    with pytest.raises(ChromTransferError, match=r"x.bw: holds no data on chr2, on which 20 regions lie"):
        region_signal(path, many, "mean", "error")
    assert region_signal(path, many, "mean", "closed").tolist() == [2.0] + [0.0] * 20
    np.testing.assert_equal(region_signal(path, many, "mean", "drop"), [2.0] + [np.nan] * 20)
    few = many.iloc[:20]
    assert region_signal(path, few, "mean", "error").tolist() == [2.0] + [0.0] * 19


def test_negative_signal_is_refused(tmp_path):
    path = write_bigwig(tmp_path / "x.bw", [("chr1", 100, 200, -1.5)], SIZES)
    with pytest.raises(ChromTransferError, match=r"signal at chr1:120-130 is -1.5 \(1 regions"):
        region_signal(path, places([("chr1", 0, 50), ("chr1", 120, 130)]), "mean", "error")


@pytest.mark.parametrize("content", [b"", b"chr1\t1\t2\n", b"\x26\xfc\x8f\x88" + b"\0" * 100])
def test_no_bigwig_is_refused(tmp_path, content):
    (tmp_path / "x.bw").write_bytes(content)
    with pytest.raises(ChromTransferError, match=r"x.bw: (not readable as bigWig|cannot be read|does not)"):
        region_signal(tmp_path / "x.bw", places([("chr1", 0, 50)]), "mean", "error")


def test_bases_that_peaks_cover_are_counted_once():
    rng = np.random.default_rng(4)
    peaks, table = random_places(rng, 30, 200), random_places(rng, 300, 500)
    marked = {name: np.zeros(size, dtype=int) for name, size in SIZES.items()}
    for peak in peaks.itertuples():
        marked[peak.chrom][peak.start : peak.end] = 1
    wanted = [marked[r.chrom][r.start : r.end].sum() for r in table.itertuples()]
    assert covered_bases(table, merged(peaks)).tolist() == wanted
    assert covered_bases(table, merged(peaks.iloc[:0])).tolist() == [0] * len(table)
    united = merged(peaks)
    assert (united["end"] - united["start"]).sum() == sum(m.sum() for m in marked.values())


def sizes_file(tmp_path):
    return Contigs(write_lines(tmp_path, "chrom.sizes", *(f"{n}\t{s}" for n, s in SIZES.items())))


def test_peaks_in_any_order_are_the_same_peaks(tmp_path):
    rows = ["chr1\t100\t300", "chr1\t250\t400", "chr2\t0\t50", "chr1\t400\t500"]
    genome, ledger = sizes_file(tmp_path), Ledger(tmp_path)
    found = []
    for name, lines in (("a", sorted(rows)), ("b", rows)):
        write_lines(tmp_path, name, *lines)
        found.append(read_peaks(name, genome, SIZES, ledger))
    assert [one.is_sorted for one in found] == [True, False]
    pd.testing.assert_frame_equal(found[0].table, found[1].table)
    assert [one.n_overlapping for one in found] == [1, 1]  # those that only touch do not overlap
    assert found[0].contigs == {"chr1": 3, "chr2": 1}


def test_peaks_that_cannot_be_read_are_listed_with_their_line(tmp_path):
    write_lines(
        tmp_path, "a", "chr1\t100\t300", "chr1\t30\tx", "chr9\t1\t5", "chr2\t2990\t3010", "chr1\t9\t9"
    )
    ledger = Ledger(tmp_path)
    assert len(read_peaks("a", sizes_file(tmp_path), SIZES, ledger).table) == 1
    assert [(file, line, reason) for file, line, reason, _ in ledger.dropped] == [
        ("a", 2, "start or end is not a whole number"),
        ("a", 3, "contig is not in the genome"),
        ("a", 4, "window reaches off the contig"),
        ("a", 5, "start is not before end"),
    ]


def narrow(chrom, start, end, value, summit):
    return f"{chrom}\t{start}\t{end}\t.\t1000\t.\t{value}\t-1\t-1\t{summit}"


def test_clusters_take_the_summit_of_the_strongest_peak(tmp_path):
    """Three overlapping peaks in a chain, one that only touches them, one whose window is off the contig."""
    one = [narrow("chr1", 1000, 1200, 5, 60), narrow("chr1", 1300, 1500, 7, 20), narrow("chr2", 10, 90, 9, 5)]
    two = [narrow("chr1", 1150, 1310, 6, 80), narrow("chr1", 1500, 1600, 99, 50)]
    write_lines(tmp_path, "one", *one)
    write_lines(tmp_path, "two", *two)
    genome = sizes_file(tmp_path)
    lines = {"A": {"peaks": "one"}, "B": {"peaks": "two"}}
    results = []
    for center in ("auto", "midpoint"):
        config = DatasetConfig.model_validate(
            {"contigs": "x", "lines": lines, "width": 100, "center": center}
        )
        ledger = Ledger(tmp_path)
        peaks = {name: read_peaks(name, genome, SIZES, ledger) for name in ("two", "one")}
        found = consensus_windows(config, peaks, genome, SIZES, ledger)
        results.append(found.windows[["start", "end", "region_start", "region_end"]].to_numpy().tolist())
        usable = 2 if center == "auto" else 3  # around its summit, the window of the third is off the contig
        assert [step.count for step in ledger.funnel] == [5, 3, usable, usable]
        assert len(ledger.dropped) == 3 - usable
    assert results[0] == [[1270, 1370, 1000, 1500], [1500, 1600, 1500, 1600]]
    assert results[1] == [[1200, 1300, 1000, 1500], [1500, 1600, 1500, 1600], [0, 100, 10, 90]]


def test_autosomes_and_listed_chromosomes(tmp_path):
    names = ["chr1", "chr10", "chrX", "chrY", "chrM", "chrUn_1", "chr1_alt"]
    genome = Contigs(write_lines(tmp_path, "s", *(f"{name} 1000 5 6" for name in names)))
    assert list(chosen_contigs(genome, ["autosomes"])) == ["chr1", "chr10"]
    assert list(chosen_contigs(genome, ["chrX", "autosomes"])) == ["chr1", "chr10", "chrX"]
    assert list(chosen_contigs(genome, ["chrX", "chr1"])) == ["chr1", "chrX"]
    assert list(chosen_contigs(genome, None)) == names
    with pytest.raises(ChromTransferError, match=r"has no contig '10'.*prefix with chr"):
        chosen_contigs(genome, ["10"])
    plants = Contigs(write_lines(tmp_path, "p", "2L 100"))
    with pytest.raises(ChromTransferError, match="`autosomes` means nothing here"):
        chosen_contigs(plants, ["autosomes"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("chr1 x", "line 1: expected the name"),
        ("a 1\na 2", "line 2: the contig a is given twice"),
    ],
)
def test_bad_sizes_are_refused(tmp_path, text, words):
    (tmp_path / "s").write_text(text)
    with pytest.raises(ChromTransferError, match=words):
        Contigs(tmp_path / "s")


@pytest.mark.parametrize("gap", [0, 1, 300])
def test_a_window_exactly_as_far_is_kept_and_one_base_nearer_is_not(gap):
    region = pd.DataFrame({"chrom": ["chr1"], "start": [5_000], "end": [5_200]})
    start = np.array([5_000 - gap - 600, 5_000 - gap - 599, 5_200 + gap - 1, 5_200 + gap])
    windows = pd.DataFrame({"chrom": "chr1", "start": start, "end": start + 600})
    assert away_from(windows, [region], gap).tolist() == [True, False, False, True]


def test_tiles_keep_their_distance_from_every_region():
    rng = np.random.default_rng(6)
    table, others = random_places(rng, 150, 60), [random_places(rng, 10, 300), random_places(rng, 3, 5)]
    for gap in (0, 1, 100):
        wanted = [
            all(
                r.chrom != o.chrom or r.start - o.end >= gap or o.start - r.end >= gap
                for other in others
                for o in other.itertuples()
            )
            for r in table.itertuples()
        ]
        assert 0 < sum(wanted) < len(wanted)
        assert away_from(table, others, gap).tolist() == wanted


def test_tiles_of_some_contigs_with_or_without_a_look_at_the_bases(tmp_path):
    contigs = {"a": "ACGTACGTNACGT", "b": "ACGTA", "c": "NNNNNNNN"}
    genome = Genome(write_fasta(tmp_path / "g.fa", contigs), cache_dir=tmp_path)
    assert genome_tiles(genome, 4).to_numpy().tolist() == [["a", 0, 4], ["a", 4, 8], ["b", 0, 4]]
    assert genome_tiles(genome, 4, ["a", "c"])["chrom"].tolist() == ["a", "a"]
    assert genome_tiles(genome, 4, ["c"], known=False).to_numpy().tolist() == [["c", 0, 4], ["c", 4, 8]]


def test_peaks_count_whatever_the_bases_under_them_are(tmp_path):
    """A short peak in a run of N covers its bases of a region that has known ones beside it."""
    write_fasta(tmp_path / "g.fa", {"chr1": "ACGT" * 250 + "N" * 200 + "ACGT" * 250})
    write_lines(tmp_path, "p.bed", "chr1\t1050\t1150")
    genome, ledger = Genome(tmp_path / "g.fa", cache_dir=tmp_path), Ledger(tmp_path)
    peaks = read_peaks("p.bed", genome, dict(genome.contigs), ledger)
    assert peaks.table[["start", "end"]].to_numpy().tolist() == [[1050, 1150]]
    assert not ledger.dropped
