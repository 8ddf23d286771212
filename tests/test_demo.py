"""Pieces of the demonstration; `make demo` runs it as a whole."""

import json
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from chromtransfer_plugin.cli import main
from chromtransfer_plugin.demo import planted_bases


def test_planted_bases_marks_sites_of_the_group_clipped_to_the_window() -> None:
    sites = pd.DataFrame(
        {
            "chrom": ["chr1", "chr1", "chr2", "chr1"],
            "start": [100, 118, 103, 105],
            "end": [104, 125, 106, 107],
            "group": ["HEPG2", "HEPG2", "HEPG2", "K562"],
        }
    )
    table = pd.DataFrame({"chrom": ["chr1", "chr2"], "start": [102, 100], "end": [122, 120]})
    mask = planted_bases(sites, table, "HEPG2")
    assert mask.shape == (2, 20)
    assert [*mask[0].nonzero()[0]] == [0, 1, 16, 17, 18, 19]
    assert [*mask[1].nonzero()[0]] == [3, 4, 5]


def test_demo_never_deletes_a_folder_that_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    result = CliRunner().invoke(main, ["demo", "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert "holds other files" in result.output
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


@pytest.mark.slow
def test_demo_learns_and_repeats(tmp_path: Path) -> None:
    results = []
    for name in ("a", "b"):
        done = CliRunner().invoke(main, ["demo", "--out", str(tmp_path / name)])
        assert done.exit_code == 0, done.output
        assert (tmp_path / name / "figure.png").stat().st_size > 50_000
        results.append(json.loads((tmp_path / name / "results.json").read_text())["lines"])
    assert results[0] == results[1]
    for line in results[0]:
        assert line["AUROC fine-tuned"] > max(line["AUROC pre-trained"], line["AUROC from scratch"])
        assert line["planted motif recovered"] == "yes"
