"""Several binary tasks over one set of windows: merging, exclusive positives, splits, and metrics with gaps."""

from __future__ import annotations

import warnings
from functools import partial

import numpy as np
import pytest
from genome_helpers import real_data_folder, write_fasta, write_lines
from sklearn.metrics import average_precision_score, fbeta_score, roc_auc_score

from chromtransfer_plugin.dataset import Windows, load_windows, split_windows
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.metrics import known_only

WIDTH = 20
NAN = float("nan")


@pytest.fixture
def genome(tmp_path) -> Genome:
    """The contigs are not in alphabetical order."""
    rng = np.random.default_rng(0)
    return Genome(
        write_fasta(
            tmp_path / "g.fa",
            {name: "".join(rng.choice(list("ACGT"), 400)) for name in ("chr2", "chr10", "chr1")},
        )
    )


@pytest.fixture
def files(tmp_path) -> dict[str, list[str]]:
    """X has four windows in two files; Y has one of them and two others."""
    x1 = write_lines(tmp_path, "x1.csv", "chr1:100-120,X", "chr10:40-60,X_NEG", "chr1:100-120,X")
    x2 = write_lines(tmp_path, "x2.csv", "chr2:300-320,X", "chr2:0-20,X_NEG")
    y = write_lines(tmp_path, "y.csv", "chr2:100-120,Y", "chr1:100-120,other", "chr10:0-20,Y_NEG")
    return {"X": [str(x1), str(x2)], "Y": str(y)}


def rows(windows: Windows) -> list[tuple]:
    """(chrom, start, label, targets), with None for an unknown target."""
    targets = [[None if np.isnan(value) else value for value in row] for row in windows.targets.tolist()]
    table = windows.table[["chrom", "start", "label"]].itertuples(index=False, name=None)
    return [(*place, target) for place, target in zip(table, targets, strict=True)]


def test_windows_are_merged_in_genome_order_with_unknown_targets(genome, files):
    windows, report = load_windows(genome, tasks=files, width=WIDTH)
    assert rows(windows) == [
        ("chr2", 0, "none", [0, None]),
        ("chr2", 100, "Y", [None, 1]),
        ("chr2", 300, "X", [1, None]),
        ("chr10", 0, "none", [None, 0]),
        ("chr10", 40, "none", [0, None]),
        ("chr1", 100, "X", [1, 0]),
    ]
    assert windows.tasks == ("X", "Y")
    assert windows.targets.dtype == np.float32
    assert (windows.table["end"] - windows.table["start"] == WIDTH).all()
    for codes, (chrom, start) in zip(
        windows.codes, windows.table[["chrom", "start"]].to_numpy(), strict=True
    ):
        assert "".join("ACGT"[code] for code in codes) == genome.sequence(chrom, start, start + WIDTH)
    assert report.splitlines()[-1] == (
        "tasks: 6 different windows; X 2 positive and 2 negative, Y 1 positive and 2 negative"
    )
    assert "1 windows occur again with the same target: used once" in report


def test_an_exclusive_positive_is_negative_in_every_other_task(genome, files):
    windows, _ = load_windows(genome, tasks=files, width=WIDTH, exclusive=True)
    assert [target for *_, target in rows(windows)] == [
        [0, None],
        [0, 1],
        [1, 0],
        [None, 0],
        [0, None],
        [1, 0],
    ]


def test_the_order_of_tasks_orders_columns_only(genome, files):
    windows, _ = load_windows(genome, tasks=files, width=WIDTH)
    turned, _ = load_windows(genome, tasks={"Y": files["Y"], "X": files["X"][::-1]}, width=WIDTH)
    assert turned.tasks == ("Y", "X")
    np.testing.assert_array_equal(turned.targets[:, ::-1], windows.targets)
    np.testing.assert_array_equal(turned.codes, windows.codes)


def test_positive_in_two_tasks(genome, files, tmp_path):
    files["Y"] = [files["Y"], str(write_lines(tmp_path, "y2.csv", "chr2:300-320,Y"))]
    windows, _ = load_windows(genome, tasks=files, width=WIDTH)
    assert rows(windows)[2] == ("chr2", 300, "X+Y", [1, 1])
    with pytest.raises(ChromTransferError) as error:
        load_windows(genome, tasks=files, width=WIDTH, exclusive=True)
    assert "1 windows are positive in several tasks, e.g. chr2:300-320 in X and Y" in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tasks": {"Z": "x1.csv"}}, "no region has the label 'Z'. Labels and counts: X 2, X_NEG 1"),
        ({"tasks": {}}, "tasks: expected names and files"),
        ({"tasks": ["X"]}, "tasks: expected names and files"),
        ({"tasks": {"X": []}}, "no file is named"),
        ({"tasks": {"X": "x1.csv"}, "files": "x1.csv"}, "with `tasks`, name the files there"),
        ({"tasks": {"X": "x1.csv"}, "positive": "X"}, "exactly one"),
        ({"files": "x1.csv", "positive": "X", "exclusive": True}, "`exclusive` is for several `tasks`"),
        ({"tasks": {"X": ["x1.csv", "bad.csv"]}}, "chr1:100 is X and X_NEG"),
    ],
)
def test_tasks_that_cannot_be_read(genome, files, tmp_path, monkeypatch, arguments, message):
    write_lines(tmp_path, "bad.csv", "chr1:100-120,X_NEG")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ChromTransferError) as error:
        load_windows(genome, width=WIDTH, **arguments)
    assert message in str(error.value)


def make_windows(targets: list[list[float]], chroms: list[str]) -> Windows:
    import pandas as pd

    table = pd.DataFrame({"chrom": chroms, "start": 0, "end": WIDTH, "label": ""})
    codes = np.zeros((len(chroms), WIDTH), dtype=np.uint8)
    return Windows(codes, np.array(targets, dtype=np.float32), table, tasks=("X", "Y"))


def test_a_task_needs_both_classes_among_the_known_training_targets():
    """Without chr3, which is the validation set of the last fold, Y has no known negative."""
    targets = [[0, 1], [1, NAN], [0, 1], [1, NAN], [0, 0], [1, 1]]
    windows = make_windows(targets, ["chr1", "chr1", "chr2", "chr2", "chr3", "chr3"])
    assert split_windows(windows, test_chromosomes=[], folds=3, fold=0).train.n == 4
    with pytest.raises(ChromTransferError) as error:
        split_windows(windows, test_chromosomes=[], folds=3, fold=2)
    assert "the train set has 2 positive and 0 negative windows of the task 'Y'" in str(error.value)


def test_metrics_of_known_targets_by_hand():
    y = np.array([[1, NAN], [0, 1], [NAN, 0], [0, 1]], dtype=np.float32)
    p = np.array([[0.9, 0.1], [0.95, 0.2], [0.0, 0.3], [0.1, 0.4]])
    # Output 1: 0.9 beats 0.1 but not 0.95. Output 2: 0.4 beats 0.3, 0.2 does not.
    auroc = known_only(roc_auc_score)
    assert auroc(y[:, 0], p[:, 0]) == auroc(y[:, 1], p[:, 1]) == 0.5
    assert known_only(average_precision_score)(y[:, 0], p[:, 0]) == 0.5
    y[1, 0], p[3, 1] = NAN, 0.25  # output 1 is right now; output 2 wrong
    assert (auroc(y[:, 0], p[:, 0]), auroc(y[:, 1], p[:, 1]), auroc(y, p)) == (1.0, 0.0, 0.5)
    y[3, 1] = NAN
    y[1, 1] = NAN  # one known target
    assert np.isnan(auroc(y[:, 1], p[:, 1]))
    assert auroc(y, p) == 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(auroc(np.full((3, 2), NAN), np.zeros((3, 2))))


def test_selenes_performance_metrics_with_unknown_targets(tmp_path):
    """A task with known positives only ends Selene's own metrics in a TypeError; here it is NA."""
    from selene_sdk.utils import PerformanceMetrics

    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, (200, 3)).astype(np.float32)
    p = np.clip(0.5 * y + rng.random((200, 3)) * 0.6, 0, 1)
    y[rng.random(y.shape) < 0.5] = NAN
    y[y[:, 2] == 0, 2] = NAN
    names = ["a", "b", "c"]
    plain = PerformanceMetrics(names.__getitem__)
    ours = PerformanceMetrics(
        names.__getitem__,
        metrics={
            "roc_auc": known_only(roc_auc_score),
            "f2": known_only(partial(lambda t, q: fbeta_score(t, q > 0.5, beta=2))),
            "average_precision": known_only(average_precision_score),
        },
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain.update(p, y)
        with pytest.raises(TypeError):
            plain.write_feature_scores_to_file(str(tmp_path / "plain.txt"))
    averages = ours.update(p, y)
    ours.write_feature_scores_to_file(str(tmp_path / "ours.txt"))
    wanted = []
    for k in (0, 1):
        known = ~np.isnan(y[:, k])
        wanted.append(roc_auc_score(y[known, k], p[known, k]))
    assert averages["roc_auc"] == pytest.approx(np.mean(wanted), abs=1e-12)
    lines = [line.split("\t") for line in (tmp_path / "ours.txt").read_text().splitlines()]
    assert [line[0] for line in lines] == ["class", "a", "b", "c"]
    assert [line[1] for line in lines[1:3]] == [f"{score:.4f}" for score in wanted]
    assert lines[3] == ["c", "NA", "NA", "NA"]


# --- through the sampler ---------------------------------------------------------------------------------


@pytest.fixture
def many(tmp_path) -> dict:
    """Arguments of a sampler: 10 windows of X and 10 of Y on each of four contigs; a third of them in both."""
    rng = np.random.default_rng(3)
    contigs = {f"chr{i}": "".join(rng.choice(list("ACGT"), 1_000)) for i in (1, 2, 3, 4)}
    fasta = write_fasta(tmp_path / "many.fa", contigs)
    lines = {}
    for name, offset in (("X", 0), ("293", 6)):
        rows = [
            f"{contig}:{30 * (i + offset)}-{30 * (i + offset) + WIDTH},{name if i % 3 == 0 else 'no'}"
            for contig in contigs
            for i in range(10)
        ]
        lines[name] = str(write_lines(tmp_path, f"{name}.csv", *rows))
    return {"genome": str(fasta), "tasks": {"X": lines["X"], 293: [lines["293"]]}, "width": WIDTH, "folds": 2}


def test_sampler_of_several_tasks(many, tmp_path):
    from chromtransfer_plugin.selene import RegionSampler

    (tmp_path / "out").mkdir()
    sampler = RegionSampler(**many, test_chromosomes=["chr2"], output_dir=str(tmp_path / "out"))
    assert sampler.features == ["X", "293"]
    assert sampler.activation == "sigmoid"
    wanted, _ = load_windows(
        Genome(many["genome"]), tasks={"X": many["tasks"]["X"], "293": many["tasks"][293]}, width=WIDTH
    )
    np.testing.assert_array_equal(sampler.windows("test").targets, wanted.take(wanted.on(["chr2"])).targets)
    assert sum(sampler.windows(mode).n for mode in sampler.modes) == wanted.n == 64
    last = (tmp_path / "out/regions_read.txt").read_text().splitlines()[-1]
    assert last.endswith("test 16 (4 of 10 X; 4 of 10 293)")
    X, y = sampler.sample(5, mode="train")
    assert X.shape == (5, WIDTH, 4)
    assert np.isnan(y).any()


def test_sampler_of_exclusive_tasks(many):
    from chromtransfer_plugin.selene import RegionSampler

    tasks = {"X": many["tasks"]["X"], "Y": many["tasks"]["X"]}
    with pytest.raises(ChromTransferError, match="no region has the label 'Y'"):
        RegionSampler(**(many | {"tasks": tasks}))
    # Positives of X are windows 0, 3, 6, 9, of 293 windows 6, 9, 12, 15: two are positive in both.
    with pytest.raises(
        ChromTransferError, match=r"8 windows are positive in several tasks, e\.g\. chr1:180-200"
    ):
        RegionSampler(**many, exclusive=True)


def test_sampler_folds_flanks_and_holdout(many, tmp_path):
    from chromtransfer_plugin.selene import RegionSampler

    away = write_lines(tmp_path, "away.bed", "chr1\t0\t85", "chr2\t0\t85")
    sampler = RegionSampler(**many, test_chromosomes=["chr2"], fold_by="locus", holdout=str(away), fold=1)
    plain = RegionSampler(**many, test_chromosomes=["chr2"], fold_by="locus", fold=1)
    assert [sampler.windows(mode).n for mode in ("test",)] == [16]
    assert sum(sampler.windows(mode).n for mode in ("train", "validate")) == 48 - 3
    assert sum(plain.windows(mode).n for mode in ("train", "validate")) == 48
    folds = sampler.folds()
    assert [split.validation.n + split.train.n for split in folds] == [45, 45]
    own = [sampler.windows(mode).fingerprint() for mode in sampler.modes]
    assert own == [part.fingerprint() for part in folds[1][:3]]
    assert own[0] != folds[0].train.fingerprint()

    first = sampler.get_data_and_targets(64, mode="train")[0][0][0]
    sampler.widen(8)
    assert sampler.windows("train").flank == sampler.split(0).train.flank == 8
    assert sampler.windows("train").centre().fingerprint() == own[0]
    assert [sampler.windows(mode).fingerprint() for mode in ("validate", "test")] == own[1:]
    np.testing.assert_array_equal(sampler.get_data_and_targets(64, mode="train")[0][0][0], first)
    X, y = sampler.sample(4, mode="train")
    again, targets = RegionSampler(
        **many, test_chromosomes=["chr2"], fold_by="locus", holdout=[str(away)], fold=1
    ).sample(4, mode="train")
    np.testing.assert_array_equal(X, again)
    np.testing.assert_array_equal(y, targets)
    sampler.shrink(5)
    assert [sampler.windows(mode).n for mode in ("train", "validate")] == [5, 5]
    assert sampler.split(0).train.n == 5
    sampler.widen(3)
    assert (sampler.windows("train").n, sampler.windows("train").flank) == (5, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": None}, "the keys `genome` and `regions` are required, or `tasks`"),
        ({"tasks": ["X", "Y"]}, "`tasks` needs names and files, {A549: A549.csv"),
        ({"tasks": {"X": None}}, "no file is named"),
        ({"positive": "X"}, "exactly one"),
        ({"feature": "open"}, "`feature` is for `positive`"),
        ({"regions": "x.csv"}, "with `tasks`, name the files there"),
        ({"holdout": "nowhere.bed"}, "nowhere.bed"),
    ],
)
def test_sampler_arguments_that_do_not_fit(many, changes, message):
    from chromtransfer_plugin.selene import RegionSampler

    with pytest.raises(ChromTransferError) as error:
        RegionSampler(**(many | changes))
    assert message in str(error.value)


@pytest.mark.real_data
def test_real_lines_merge():
    data = real_data_folder()
    genome = Genome(data / "hg38_partial.fa.gz")
    lines = ["A549", "GM12878", "HCT116", "HEPG2", "K562", "MCF7"]
    tasks = {line: data / "regions" / "train" / f"{line}.csv" for line in lines}
    windows, _ = load_windows(genome, tasks=tasks)
    for name, y in zip(windows.tasks, windows.targets.T, strict=True):
        alone, _ = load_windows(genome, tasks[name], positive=name)
        known = ~np.isnan(y)
        places = set(windows.table[known][["chrom", "start"]].itertuples(index=False, name=None))
        assert places == set(alone.table[["chrom", "start"]].itertuples(index=False, name=None))
        assert (y == 1).sum() == (alone.targets == 1).sum()
