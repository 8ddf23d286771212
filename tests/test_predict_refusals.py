"""What ``chromtransfer predict`` refuses, in one line, leaving nothing behind."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import threading

import pytest
import torch
from click.testing import CliRunner
from kipoi_cases import make_checkpoint
from predict_cases import world  # noqa: F401 - a fixture

from chromtransfer_plugin.checkpoint import load_model, save_model
from chromtransfer_plugin.cli import main
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.prediction import engine, predict_file, run


def refused(world, tmp_path, match, models=None, out="o.tsv", **options):  # noqa: F811
    before = sorted(tmp_path.iterdir())
    options = {"bed": world.bed, "genome": world.genome, "device": "cpu", **options}
    with pytest.raises(ChromTransferError, match=match):
        predict_file(world.binary if models is None else models, tmp_path / out, **options)
    assert sorted(tmp_path.iterdir()) == before
    assert threading.active_count() == 1 or not any(
        t.name == "prepare sequences" for t in threading.enumerate()
    )


CONTENTS = {
    "": "is empty",
    "\n\n": "is empty",
    "# nothing\n": "only blank or comment lines",
    "a,b,c\n": "is not a region file",
    "chr1\t5\n": "is not a region file",
    "1\t100\t700\n": "none of its contigs is in the genome .* says `chr1`: prefix with chr",
    "chr1\t5999\t6000\nchr2\t0\t1\n": "no row can be scored: 2 x window reaches off the contig",
    "chr2\t2100\t2900\n": "no row can be scored: 1 x window holds nothing but N",
}


@pytest.mark.parametrize("content", CONTENTS)
def test_files_without_a_row_to_score(world, tmp_path, content):  # noqa: F811
    bed = tmp_path / "a.bed"
    bed.write_text(content)
    refused(world, tmp_path, CONTENTS[content], bed=bed)


def test_files_that_are_no_text(world, tmp_path):  # noqa: F811
    bed = tmp_path / "a.bed"
    refused(world, tmp_path, "no such file", bed=bed)
    refused(world, tmp_path, "is a folder", bed=tmp_path)
    bed.write_bytes(b"chr1\t1\t2\n\0\xff")
    refused(world, tmp_path, "is a binary file", bed=bed)
    bed.write_bytes(gzip.compress(b"chr1\t100\t700\n" * 9)[:-9])
    refused(world, tmp_path, "compressed data is damaged", bed=bed)
    os.mkfifo(tmp_path / "fifo")
    refused(world, tmp_path, "no regular file", bed=tmp_path / "fifo")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("", "is empty"),
        ("chr1\t1\t2\n", "not a FASTA"),
        (">a\nACGT\n>b\n>c\nACGT\n", "'b' .line 3. has no sequence"),
        (">a\nACGT\n>b\nAC-GT\n", "'b' .line 3. is not DNA"),
        (">a\nNNNN\n", "no row can be scored: 1 x window holds nothing but N"),
        (">a\n" + "ACGTACGTAC" * 100_001 + "\n", "longer than 1,000,000 bases"),
    ],
)
def test_fasta(world, tmp_path, content, match):  # noqa: F811
    fasta = tmp_path / "a.fa"
    fasta.write_text(content)
    refused(world, tmp_path, match, bed=None, genome=None, fasta=fasta)


def test_arguments_that_do_not_go_together(world, tmp_path):  # noqa: F811
    cases = [
        ({"bed": None}, "0 inputs given, expected exactly one of --bed, --fasta and --csv"),
        ({"csv": world.bed}, "2 inputs given"),
        ({"genome": None}, "give --genome FASTA"),
        ({"bed": None, "fasta": world.genome}, "--genome has no use with --fasta"),
        ({"width": 0}, "width is 0, expected 1 to 1,000,000 bp or 'native'"),
        ({"width": 2_000_000}, "width is 2000000"),
        ({"width": "wide"}, "width is 'wide'"),
        ({"batch_size": 0}, "batch size is 0"),
        ({"n_policy": "drop"}, "n-policy is 'drop'"),
        ({"device": "cpux"}, "device 'cpux' is unknown"),
        ({"evaluation": tmp_path / "e.csv"}, "--evaluation needs --positive"),
        ({"evaluation_calls": True, "positive": "K562"}, "--evaluation-calls adds a column"),
        ({"format": "xlsx"}, "format is 'xlsx', expected one of tsv"),
        ({"out": "o.xlsx"}, "the name does not tell a format"),
        ({"out": "o.parquet.gz"}, "the name does not tell a format"),
        (
            {"bed": None, "genome": None, "fasta": world.genome, "out": "o.bw"},
            "bigWig needs a genome's coordinates",
        ),
        ({"strict": True}, r"line 3: contig is not in the genome: 'chr9\\t5\\t600\\tx'"),
    ]
    for options, match in cases:
        refused(world, tmp_path, match, **options)


def test_outputs(world, tmp_path):  # noqa: F811
    (tmp_path / "folder.tsv").mkdir()
    refused(world, tmp_path, "is a folder, expected the name of a file", out="folder.tsv")
    refused(world, tmp_path, "the folder .* does not exist", out="missing/o.tsv")
    (tmp_path / "file").write_text("")
    refused(world, tmp_path, "is not a folder", out="file/o.tsv")
    bed = tmp_path / "regions.bed"
    bed.write_text("chr1\t100\t700\tK562\n")
    refused(world, tmp_path, "is an input of this run", bed=bed, out="regions.bed")
    (tmp_path / "link.bed").symlink_to(bed)
    refused(world, tmp_path, "is an input of this run", bed=bed, out="link.bed")
    refused(
        world, tmp_path, "would be written twice", bed=bed, positive="K562", evaluation=tmp_path / "o.tsv"
    )
    model = make_checkpoint(tmp_path / "model")
    for name in ("card.json", "model.safetensors"):
        refused(
            world,
            tmp_path,
            "is an input of this run",
            models=model,
            bed=bed,
            out=f"model/{name}",
            format="tsv",
        )
    assert bed.read_text() == "chr1\t100\t700\tK562\n"


def test_a_label_that_is_no_output_is_found_before_anything_is_scored(world, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(run, "score_blocks", None)
    refused(
        world,
        tmp_path,
        "'multi' has no output of this name",
        models=[world.binary, world.multi],
        positive="neg",
    )


def test_a_tilde_that_the_shell_left_is_the_home_folder(world, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    csv = tmp_path / "a.csv"
    csv.write_text("chr1:100-700,K562\nchr1:900-1500,neg\n")
    shutil.copytree(world.binary, tmp_path / "K562")
    predict_file(
        "~/K562", "~/o.tsv", csv="~/a.csv", genome=world.genome, device="cpu", positive="K562",
        evaluation="~/e.csv",
    )  # fmt: skip
    names = {"K562", "a.csv", "e.csv", "o.tsv", "o.tsv.run.json"}
    assert {path.name for path in tmp_path.iterdir()} == names


def test_models(world, tmp_path):  # noqa: F811
    wide = make_checkpoint(tmp_path / "wide", window=601)
    binary = world.binary
    cases = [
        ([], "no model given"),
        ([binary, ""], "no model given"),
        ([binary, binary], "2 models are called 'K562'. Give them names: --model NAME=FOLDER"),
        ([binary, wide], r"different widths \(K562 600, wide 601 bp\)"),
        ([f"start={binary}"], "'start' is a column of the regions"),
        ([f"multi.A549={binary}", world.multi], "'multi.A549' would head 2 columns"),
        ([f"={binary}"], "the name '' cannot head a column"),
        ([f"a/b={binary}"], "the name 'a/b' cannot head a column"),
        ([f"a\tb={binary}"], "cannot head a column"),
        ([f"both={world.folder}"], "holds 2 models, one name cannot serve for all"),
        (["nowhere"], "no model 'nowhere'"),
        ([tmp_path / "weights.pt"], "pickle-based checkpoint, which is never loaded"),
        ([tmp_path / "model.h5"], "import-keras"),
        ([world.genome], "not a checkpoint"),
    ]
    for models, match in cases:
        refused(world, tmp_path, match, models=models)
    predict_file(
        [binary, wide], tmp_path / "o.tsv", bed=world.bed, genome=world.genome, width=600, device="cpu"
    )


def test_names_of_models(world, tmp_path, monkeypatch):  # noqa: F811
    run = make_checkpoint(tmp_path / "myrun" / "best_model").parent
    monkeypatch.chdir(run)
    for spec, name in (
        (run, "myrun"), (run / "best_model", "myrun"), (".", "myrun"), (run / "best_model" / "card.json", "myrun"),
        (f"x={run}", "x"),
    ):  # fmt: skip
        result = predict_file(spec, tmp_path / "o.tsv", bed=world.bed, genome=world.genome, device="cpu")
        assert result.columns == [name]


def test_installed_models_go_by_their_name(world, tmp_path, monkeypatch):  # noqa: F811
    shutil.copytree(world.multi, tmp_path / "cache" / "zoo" / "ChromTransfer" / "lines")
    shutil.copytree(world.multi, tmp_path / "cache" / "zoo" / "ChromTransfer" / ".tmp-0123456789ab-new-lines")
    monkeypatch.setenv("CHROMTRANSFER_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    options = {"bed": world.bed, "genome": world.genome, "device": "cpu"}
    for spec in ("lines", "ChromTransfer/lines", tmp_path / "cache" / "zoo" / "ChromTransfer"):
        messages: list[str] = []
        result = predict_file(spec, tmp_path / "o.tsv", **options, report=messages.append)
        assert f"model lines: {tmp_path / 'cache' / 'zoo' / 'ChromTransfer' / 'lines'}" in messages
        assert result.columns == ["lines.A549", "lines.K562", "lines.HEPG2"]
    assert predict_file("x=lines", tmp_path / "o.tsv", **options).columns[0] == "x.A549"
    refused(world, tmp_path, "Did you mean ChromTransfer/lines", models="line")
    (tmp_path / "lines").mkdir()  # any other folder of that name
    assert predict_file("lines", tmp_path / "o.tsv", **options).columns[0] == "lines.A549"
    shutil.copy(world.multi / "model.safetensors", tmp_path / "lines")
    refused(world, tmp_path, "lines: not a checkpoint", models="lines")


def test_a_model_without_numbers_is_refused(world, tmp_path):  # noqa: F811
    network, card = load_model(world.binary)
    with torch.no_grad():
        next(network.parameters()).fill_(float("nan"))
    save_model(network, tmp_path / "broken", card)
    refused(world, tmp_path, "'broken': the model gives no number for 'chr1.t100", models=tmp_path / "broken")


def test_the_command_prints_one_line(world, tmp_path):  # noqa: F811
    result = CliRunner().invoke(
        main,
        ["predict", "--model", str(world.binary), "--bed", str(world.bed), "--out", str(tmp_path / "o.tsv")],
    )
    assert result.exit_code == 1
    assert result.output.startswith("Error: --bed ")
    assert result.output.count("\n") == 1
    result = CliRunner().invoke(main, ["predict", "--model", "x", "--out", "o.tsv", "--width", "wide"])
    assert result.exit_code == 2
    assert "neither a number of base pairs nor 'native'" in result.output


def test_errors_while_preparing_reach_the_caller():
    def items():
        yield 1
        raise ChromTransferError("broken")

    with engine.ahead(items()) as taken:
        assert next(taken) == 1
        with pytest.raises(ChromTransferError, match="broken"):
            next(taken)


def test_preparing_stops_when_the_taker_does():
    made = []

    def items():
        for number in range(10_000):
            made.append(number)
            yield number

    with engine.ahead(items()) as taken:
        assert next(taken) == 0
    assert len(made) < 20  # never more than a few ahead
    assert not any(thread.name == "prepare sequences" for thread in threading.enumerate())


def test_long_rows_keep_their_place(world, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr("chromtransfer_plugin.prediction.inputs.LONGEST", 1000)
    bed = tmp_path / "a.bed"
    bed.write_text("chr1\t0\t1001\nchr1\t0\t1000\n")
    result = predict_file(
        world.binary, tmp_path / "o.tsv", bed=bed, genome=world.genome, width="native", device="cpu"
    )
    assert result.counts == {"ok": 1, "longer than 1,000,000 bp": 1}
    assert json.loads((tmp_path / "o.tsv.run.json").read_text())["rows"] == result.counts


def test_batches_of_long_sequences_are_smaller(world, tmp_path, monkeypatch):  # noqa: F811
    """As many bases at a time as in a batch of 600 bp windows, so that memory stays the same."""
    fasta = tmp_path / "a.fa"
    text = world.text["chr1"]
    fasta.write_text("".join(f">{i}\n{text[i : i + n]}\n" for i in range(8) for n in (50, 1200, 4000)))
    shapes = []
    original = engine.as_one_hot
    monkeypatch.setattr(
        engine, "as_one_hot", lambda codes: (shapes.append(tuple(codes.shape)), original(codes))[1]
    )
    predict_file(world.binary, tmp_path / "o.tsv", fasta=fasta, batch_size=6, device="cpu")
    assert shapes == [(6, 50), (2, 50), (3, 1200), (3, 1200), (2, 1200), *[(1, 4000)] * 8]
