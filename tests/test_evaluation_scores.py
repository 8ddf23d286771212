"""Scores of many models on disk: what comes back, equal bytes, refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.evaluation.scores import ScoreTable, read_scores, write_scores


def table() -> ScoreTable:
    windows = pd.DataFrame(
        {
            "chrom": ["chr2", "chr3", "chr3"],
            "start": [600, 1200, 2_147_483_648],
            "end": [1200, 1800, 2_147_484_248],
            "label": ["HEPG2", "K562_NEG", "Negative"],
            "y": np.array([1, 0, 0], dtype=np.int8),
            "locus": [0, 1, 2],
        }
    )
    return ScoreTable(
        "HEPG2", windows, {"fine-tuned": np.array([0.1 + 0.2, 1.0, 0.0]), "a.b": np.array([0.25, 0.5, 1 / 3])}
    )


def test_everything_comes_back_to_the_last_bit(tmp_path: Path) -> None:
    write_scores(table(), tmp_path / "scores.parquet")
    back = read_scores(tmp_path / "scores.parquet", "HEPG2")
    assert back.line == "HEPG2"
    assert list(back.scores) == ["fine-tuned", "a.b"]
    for name, values in table().scores.items():
        assert back.scores[name].tolist() == values.tolist()
    for name, column in table().table.items():
        assert back.table[name].tolist() == column.tolist()
    assert back.table["y"].dtype == np.int8
    assert back.y.tolist() == [1, 0, 0]
    assert back.locus.tolist() == [0, 1, 2]


def test_equal_tables_are_equal_bytes(tmp_path: Path) -> None:
    write_scores(table(), tmp_path / "a.parquet")
    write_scores(read_scores(tmp_path / "a.parquet", "HEPG2"), tmp_path / "b.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ({"m": np.array([0.1, np.nan, 0.2])}, "model m has scores that are no probabilities"),
        ({"m": np.array([0.1, 3.2, 0.2])}, "sigmoid"),
        ({"m": np.array([0.1, 0.2])}, r"shape \(2,\) for 3 windows"),
    ],
)
def test_scores_that_are_none_are_not_written(tmp_path: Path, scores: dict, message: str) -> None:
    with pytest.raises(ChromTransferError, match=message):
        write_scores(ScoreTable("HEPG2", table().table, scores), tmp_path / "s.parquet")
    assert list(tmp_path.iterdir()) == []


def test_files_of_another_form_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ChromTransferError, match=r"none\.parquet: cannot be read .*No such file"):
        read_scores(tmp_path / "none.parquet", "HEPG2")
    (tmp_path / "text.parquet").write_text("chrom\tstart\n")
    with pytest.raises(ChromTransferError, match=r"text\.parquet: is no Parquet file"):
        read_scores(tmp_path / "text.parquet", "HEPG2")
    for column, message in [("locus", "lack the column locus"), ("y", "other labels"), ("start", "whole")]:
        wrong = table().table.astype({"y": np.int64})
        if column == "locus":
            wrong = wrong.drop(columns="locus")
        else:
            wrong[column] = [0, 2, 1] if column == "y" else [0.5, 1.0, 2.0]
        wrong.to_parquet(tmp_path / "wrong.parquet", index=False)
        with pytest.raises(ChromTransferError, match=message):
            read_scores(tmp_path / "wrong.parquet", "HEPG2")
