"""Pieces of the demonstration; `make demo` runs it as a whole."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from chromtransfer_plugin.cli import main


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
