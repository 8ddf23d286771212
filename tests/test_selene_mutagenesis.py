"""Selene's in_silico_mutagenesis: its numbers are ours, and what is refused is said."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from kipoi_cases import make_checkpoint, make_genome
from selene_analysis_cases import (
    OUTPUTS,
    make_analyses,
    mutants,
    saved,
)

from chromtransfer_plugin.attribution import ism
from chromtransfer_plugin.checkpoint import load_model
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.friendly import ChromTransferWarning
from chromtransfer_plugin.onehot import encode
from chromtransfer_plugin.predict import predict_logits


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("variants")
    make_checkpoint(folder / "model", outputs=OUTPUTS)
    return folder


@pytest.fixture(scope="module")
def text(folder) -> dict[str, str]:
    return {name: sequence.upper() for name, sequence in make_genome(folder / "genome.fa").items()}


@pytest.fixture(scope="module")
def model(folder):
    return load_model(folder / "model").model


@pytest.fixture(scope="module")
def analyses(folder, text):
    """Selene's class with probabilities, and with logits."""
    del text  # writes the genome
    return make_analyses(folder)


@pytest.fixture
def analysis(analyses):
    return analyses[0]


def test_mutants_of_one_sequence_get_our_scores(folder, text, model, analyses, tmp_path):
    sequence = text["chr2"][3_200:3_800]
    codes = encode(sequence)[None]
    range_ = {"start_position": 290, "end_position": 320}
    for number, output in enumerate(("probability", "logit")):
        prefix = tmp_path / output / "mine"
        analyses[number].in_silico_mutagenesis(
            sequence.lower(),
            ["diffs", "abs_diffs", "predictions"],
            str(prefix),
            output_format="hdf5",
            **range_,
        )
        labels = pd.read_csv(f"{prefix}_row_labels.txt", sep="\t")
        diffs, reference = saved(prefix.parent, "mine_diffs"), saved(prefix.parent, "mine_ref_predictions")
        for target in range(2):
            raw = ism(model, codes, output=output, target=target, raw=True, start=290, end=320)[0]
            expected = mutants(raw, sequence, 290)
            assert list(labels.itertuples(index=False, name=None)) == [row[:3] for row in expected]
            scores = np.array([row[3] for row in expected])
            assert np.abs(scores).max() > 1e-3
            np.testing.assert_allclose(diffs[:, target], scores, atol=1e-5)
        np.testing.assert_allclose(saved(prefix.parent, "mine_abs_diffs"), np.abs(diffs))
        np.testing.assert_allclose(saved(prefix.parent, "mine_predictions") - reference, diffs, atol=1e-6)
    analyses[0].in_silico_mutagenesis(
        sequence, ["logits"], str(tmp_path / "log"), output_format="hdf5", **range_
    )
    np.testing.assert_allclose(saved(tmp_path, "log_logits"), diffs, atol=1e-5)


def test_mutants_of_a_file_get_our_scores(folder, text, model, analyses, tmp_path):
    sequences = {"chr1:100-700": text["chr1"][100:700], "b": text["chr1"][4_000:4_700]}
    fasta = tmp_path / "s.fa.gz"
    fasta.write_bytes(gzip.compress("".join(f">{name}\n{s}\n" for name, s in sequences.items()).encode()))
    with pytest.warns(ChromTransferWarning, match="1 sequences have another length, not 600 bp"):
        analyses[1].in_silico_mutagenesis_from_file(
            str(fasta), ["diffs"], str(tmp_path / "new" / "out"), output_format="hdf5", start_position=590
        )
    for name, sequence in (("chr1:100-700", sequences["chr1:100-700"]), ("b", sequences["b"][50:650])):
        raw = ism(model, encode(sequence)[None], target=1, raw=True, start=590, end=600)[0]
        expected = [row[3] for row in mutants(raw, sequence, 590)]
        got = saved(tmp_path / "new" / "out", f"{name}_diffs")[:, 1]
        np.testing.assert_allclose(got, expected, atol=1e-5)


def test_selene_puts_four_bases_at_an_unknown_one(text, model, analyses, tmp_path):
    sequence = text["chr1"][1_000:1_300] + "N" + text["chr1"][1_301:1_600]
    analyses[1].in_silico_mutagenesis(
        sequence,
        ["predictions"],
        str(tmp_path / "n"),
        output_format="hdf5",
        start_position=300,
        end_position=301,
    )
    codes = np.repeat(encode(sequence)[None], 4, axis=0)
    codes[:, 300] = range(4)
    np.testing.assert_allclose(saved(tmp_path, "n_predictions"), predict_logits(model, codes), atol=1e-5)
    np.testing.assert_allclose(
        saved(tmp_path, "n_ref_predictions"), predict_logits(model, encode(sequence)[None]), atol=1e-5
    )


def test_mistakes_in_mutagenesis_are_named(analysis, text, tmp_path):
    sequence = text["chr1"][:600]
    for change, message in (
        ({"sequence": "ACGU"}, "`sequence` is no DNA"),
        ({"mutate_n_bases": 2}, "Selene ignores `mutate_n_bases`"),
        ({"start_position": 600}, "start_position=600, end_position=None and mutate_n_bases=1 do not fit"),
        ({"end_position": 601}, "expected positions from 0 to 600"),
        ({"start_position": -1}, "start_position=-1 is not usable"),
        ({"prefix": "x"}, "unknown key 'prefix'"),
        ({"input_path": "x.fa"}, "give only one of fa_files, input_path, sequence"),
    ):
        with pytest.raises(ChromTransferError, match=message):
            analysis.in_silico_mutagenesis(**({"sequence": sequence, "save_data": ["diffs"]} | change))
    with pytest.warns(ChromTransferWarning, match="`sequence` has 4 bp, not 600 bp"):
        analysis.in_silico_mutagenesis(
            "ACGT", ["diffs"], str(tmp_path / "s"), start_position=298, end_position=299
        )
    fasta = tmp_path / "s.fa"
    fasta.write_text(f">a/b\n{sequence}\n>a/b\n{sequence}\n")
    section = {"input_path": str(fasta), "save_data": ["diffs"], "output_dir": str(tmp_path / "out")}
    with pytest.raises(
        ChromTransferError, match=r"record 'a/b' \(line 1\) .*has a slash.*use_sequence_name: False"
    ):
        analysis.in_silico_mutagenesis_from_file(**section)
    assert not (tmp_path / "out").exists()
    analysis.in_silico_mutagenesis_from_file(**section, use_sequence_name=False, end_position=1)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0_diffs.tsv", "1_diffs.tsv"]
