"""Scores from elsewhere: every form of file gives the same numbers, every fault its message."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from evaluate_cases import Case, make_case, write_rows, write_scores_csv

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.evaluation.external import read_external
from chromtransfer_plugin.evaluation.inputs import LabelledWindows, read_labelled
from chromtransfer_plugin.genome import Genome


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> Case:
    return make_case(tmp_path_factory.mktemp("external"))


@pytest.fixture(scope="module")
def windows(case) -> LabelledWindows:
    return read_labelled(case.folder / "alpha.test.csv", Genome(case.folder / "genome.fa"), "alpha", 600)


@pytest.fixture(scope="module")
def p(case) -> np.ndarray:
    return np.round(np.random.default_rng(0).random(len(case.test_rows())), 6)


def read(path: Path, windows: LabelledWindows, **more) -> np.ndarray:
    return read_external(path, "rival", windows, "alpha", **more).scores


def forms(case: Case, p: np.ndarray) -> dict[str, list[str]]:
    rows = [row.split(",") for row in case.test_rows()]
    parts = [(*region.replace(":", "-").split("-"), label) for region, label in rows]
    every = list(zip(rows, parts, p.tolist(), strict=True))
    return {
        "header.csv": ["region,label,score", *(f"{r},{int(n == 'alpha')},{s}" for (r, n), _, s in every)],
        "names.tsv": ["region\tlabel\tprobability", *(f"{r}\t{n}\t{s}" for (r, n), _, s in every)],
        "places.tsv": ["chrom\tstart\tend\tscore", *(f"{c}\t{a}\t{b}\t{s}" for _, (c, a, b, _), s in every)],
        "predict.tsv": [
            "chrom\tstart\tend\tname\tscore\talpha",
            *(f"{c}\t{a}\t{b}\t.\t0\t{s}" for _, (c, a, b, _), s in every),
        ],
        "only_one.tsv": [
            "chrom\tstart\tend\tname\tstrand\tlabel\tstatus\tzoo",
            *(f"{c}\t{a}\t{b}\t.\t.\t{n}\tok\t{s}" for _, (c, a, b, n), s in every),
        ],
        "commented.bed": [
            "#chrom\tstart\tend\tname\tscore\tstrand\trival",
            *(f"{c}\t{a}\t{b}\t.\t7\t.\t{s}" for _, (c, a, b, _), s in every),
        ],
        "plain.bed": [f"{c}\t{a}\t{b}\t{n}\t{s}" for _, (c, a, b, n), s in every],
        "paper.csv": [f"{s},alpha,{n},{int(n == 'alpha')}" for (_, n), _, s in every],
        "older.csv": [f"{s},alpha,{n},{int(n == 'alpha')},{int(s > 0.5)}" for (_, n), _, s in every],
        "lines.csv": [
            line
            for (_, n), _, s in every
            for line in (f"0.5,beta,{n},0", f"{s},alpha,{n},{int(n == 'alpha')}")
        ],
        "spreadsheet.csv": ["\ufeffregion;score\r", *(f"{r};{s}\r" for (r, _), _, s in every)],
        "r.csv": ['"","region","score"', *(f'"{i}","{r}",{s}' for i, ((r, _), _, s) in enumerate(every))],
        "scores.txt": [str(s) for _, _, s in every],
        "titled.txt": ["score", *(str(s) for _, _, s in every)],
    }


FORMS = (
    *("header.csv", "names.tsv", "places.tsv", "predict.tsv", "only_one.tsv", "commented.bed", "plain.bed"),
    *("paper.csv", "older.csv", "lines.csv", "scores.txt", "titled.txt", "spreadsheet.csv", "r.csv"),
)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_scores(case, windows, p, tmp_path, form):
    text = forms(case, p)[form]
    assert read(write_rows(tmp_path / form, text), windows).tolist() == p.tolist()


def test_parquet_and_rows_in_any_order(case, windows, p, tmp_path):
    regions = [row.split(",")[0] for row in case.test_rows()]
    order = np.random.default_rng(1).permutation(len(p))
    table = pd.DataFrame({"region": regions, "alpha": p, "beta": 0.0}).iloc[order]
    table.to_parquet(tmp_path / "scores.parquet")
    assert read(tmp_path / "scores.parquet", windows).tolist() == p.tolist()


def test_rows_count_from_the_file_with_comments_repeats_and_unusable_rows(case, p, tmp_path):
    rows = case.test_rows()
    mixed = [rows[0], "chr9:1-601,alpha", "# a comment", *rows[1:], rows[3]]
    path = write_rows(tmp_path / "test.csv", mixed)
    read_ = read_labelled(path, Genome(case.folder / "genome.fa"), "alpha", 600)
    assert read_.n_rows == len(rows) + 2
    scores = [p[0], 0.77, *p[1:], p[3]]
    plain = write_rows(tmp_path / "scores.txt", [str(s) for s in scores])
    assert read(plain, read_).tolist() == p.tolist()


def test_logits_become_probabilities(case, windows, p, tmp_path):
    logits = np.log(p / (1 - p))
    path = write_scores_csv(tmp_path / "logits.csv", case.test_rows(), logits.tolist())
    np.testing.assert_allclose(read(path, windows, logits=True), p, atol=1e-12)
    with pytest.raises(ChromTransferError, match=r"outside \[0, 1\].*--against-logits rival"):
        read(path, windows)


FAULTS = {
    "missing": (lambda rows: rows[:-1], "has no score for 1 of the 40 test windows"),
    "not a number": (
        lambda rows: [rows[0], rows[1].split(",")[0] + ",NA", *rows[2:]],
        "line 2: the score is 'NA'",
    ),
    "empty score": (
        lambda rows: [rows[0], rows[1].split(",")[0] + ",", *rows[2:]],
        "has no score for 1 of the 40 test windows",
    ),
    "decimal commas": (
        lambda rows: [row.replace(",", ";").replace(".", ",") for row in rows],
        "line 2: the score is '0,[0-9]*', expected a number .40 such.. Write decimal points",
    ),
    "other names of contigs": (
        lambda rows: [row.removeprefix("chr") for row in rows],
        "no score for 40 of the 40 .*e.g. chr2:0-600 .it names regions such as 2:0-600",
    ),
    "too large": (
        lambda rows: [rows[0], rows[1].split(",")[0] + ",870", *rows[2:]],
        "line 2: the score 870 is outside.*Divide by",
    ),
    "two scores": (
        lambda rows: [*rows, rows[1].split(",")[0] + ",0.123"],
        "several different scores, e.g. chr2:0-600",
    ),
    "too many columns": (lambda rows: [*rows, "a,b,c"], "line 42: has 3 columns, expected 2"),
    "only a header": (lambda rows: rows[:1], "has a header and no rows"),
    "no column of scores": (
        lambda rows: ["region,a,b", *(f"{row},1" for row in rows[1:])],
        "which column holds the scores.*there are region, a, b",
    ),
    "words": (lambda rows: ["some words, here", *rows[1:]], "not understood, expected"),
    "nothing": (lambda rows: ["# only", "# comments"], "holds no scores"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_of_a_table(case, windows, p, tmp_path, fault):
    change, message = FAULTS[fault]
    good = write_scores_csv(tmp_path / "good.csv", case.test_rows(), p.tolist()).read_text().splitlines()
    path = write_rows(tmp_path / "scores.csv", change(good))
    with pytest.raises(ChromTransferError, match=message) as error:
        read(path, windows)
    assert str(path) in str(error.value)


def test_scores_of_other_windows_are_noticed(case, windows, p, tmp_path):
    short = write_rows(tmp_path / "short.txt", [str(s) for s in p[:-1]])
    with pytest.raises(ChromTransferError, match=r"has 39 scores without regions, .* has 40 rows"):
        read(short, windows)
    paper = forms(case, p)["paper.csv"]
    swapped = write_rows(tmp_path / "swapped.csv", paper[::-1])
    with pytest.raises(ChromTransferError, match="labels differ"):
        read(swapped, windows)
    flipped = [re.sub(",1,", ",0,", row) for row in forms(case, p)["header.csv"]]
    with pytest.raises(ChromTransferError, match=r"says the label of .* is 0, .* says 1"):
        read(write_rows(tmp_path / "flipped.csv", flipped), windows)
    other = write_rows(tmp_path / "other.csv", [row.replace("alpha,", "gamma,", 1) for row in paper])
    with pytest.raises(ChromTransferError, match=r"no row is of the line 'alpha' \(column 2 holds gamma"):
        read(other, windows)
    with pytest.raises(ChromTransferError, match=r"absent\.csv"):
        read(tmp_path / "absent.csv", windows)
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(ChromTransferError, match="cannot be read as Parquet"):
        read(tmp_path / "broken.parquet", windows)
