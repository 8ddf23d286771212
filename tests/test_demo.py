"""Pieces of the demonstration; `make demo` runs it as a whole."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from chromtransfer_plugin.cli import main
from chromtransfer_plugin.demo import _clear
from chromtransfer_plugin.errors import ChromTransferError


def test_demo_never_deletes_a_folder_that_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    result = CliRunner().invoke(main, ["demo", "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert "holds other files" in result.output
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_demo_replaces_only_what_it_made(tmp_path: Path) -> None:
    (tmp_path / ".chromtransfer-demo").touch()
    (tmp_path / "thesis.tex").write_text("years of work")
    (tmp_path / "pretrain").mkdir()
    (tmp_path / "pretrain" / "history.csv").write_text("old")
    _clear(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".chromtransfer-demo", "thesis.tex"]


def test_demo_into_a_file_or_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("file", "link"):
        with pytest.raises(ChromTransferError, match="not a plain folder"):
            _clear(tmp_path / name)


@pytest.mark.parametrize("command", ["demo", "simulate"])
def test_negative_seed_is_refused_before_anything_is_touched(tmp_path: Path, command: str) -> None:
    result = CliRunner().invoke(main, [command, "--out", str(tmp_path / "new"), "--seed", "-1"])
    assert result.exit_code == 2
    assert "seed" in result.output
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_demo_learns_and_repeats(tmp_path: Path) -> None:
    results = []
    for name in ("a", "b"):
        done = CliRunner().invoke(main, ["demo", "--out", str(tmp_path / name)])
        assert done.exit_code == 0, done.output
        assert (tmp_path / name / "figure.png").stat().st_size > 50_000
        results.append(json.loads((tmp_path / name / "results.json").read_text()))
    assert results[0] == results[1]
    for line in results[0]["lines"]:
        assert line["AUROC fine-tuned"] > max(line["AUROC pre-trained"], line["AUROC from scratch"])
        assert line["planted motif recovered"] == "yes"
    assert_planted_motifs_are_read(results[0]["motifs"])
    assert (tmp_path / "a" / "motifs" / "report.html").is_file()


def assert_planted_motifs_are_read(found: dict[str, Any]) -> None:
    """Planted line motifs come first in their line and near zero in the other, controls are not read.

    The limits are those of chromtransfer_plugin.motifs.planted, written out; docs/motifs.md says why these controls.
    """
    assert found["problems"] == []
    other = {"HEPG2": "K562", "K562": "HEPG2"}
    ranks: dict[str, list[int]] = {"HEPG2": [], "K562": []}
    for row in found["planted"]:
        line = row["line"]
        ranks[line].append(row[f"{line}.rank"])
        assert row[f"{line}.D"] > 0.3
        assert row[f"{line}.fdr"] < 0.001
        assert abs(row[f"{other[line]}.D"]) < 0.25
        assert row["diff.D"] > 0.3 if line == "HEPG2" else row["diff.D"] < -0.3
    assert {line: sorted(own) for line, own in ranks.items()} == {"HEPG2": [1, 2], "K562": [1, 2]}
    controls = found["controls"]
    assert controls["tested"] >= 50
    assert controls["read"] == 0
    assert controls["significant"] <= 0.05 * controls["tested"]
    assert controls["largest_D"] < 0.3
    first = found["first in JASPAR2022"]
    assert first["HEPG2"] == first["HEPG2 - K562"]
    assert first["K562"] == first["K562 - HEPG2"]
