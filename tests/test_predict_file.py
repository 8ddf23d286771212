"""``chromtransfer predict``: values, order, formats, lengths, and what the original made of N."""

from __future__ import annotations

import gzip
import io
import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from kipoi_cases import make_checkpoint
from predict_cases import (  # noqa: F401 - world is a fixture
    LINES,
    REASONS,
    ROWS,
    expected,
    numbers,
    read_table,
    window_texts,
    world,
)

from chromtransfer_plugin.cli import main
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.prediction import engine, predict_file, run
from chromtransfer_plugin.prediction.bigwig import mean_coverage
from chromtransfer_plugin.prediction.outputs import lines_of

MULTI = [f"multi.{line}" for line in LINES]
GOOD = [row for row, (_, window) in enumerate(ROWS) if window]


@pytest.fixture(scope="module")
def values(world):  # noqa: F811
    """Probabilities of all four columns for the rows that can be scored, each window alone."""
    texts = window_texts(world)
    found = np.concatenate([expected(world.binary, texts), expected(world.multi, texts)], axis=1)
    assert found.std(axis=0).min() > 0.05
    return found


def predicted(world, out, models=None, **options):  # noqa: F811
    models = [world.binary, world.multi] if models is None else models
    options = {"bed": world.bed, "genome": world.genome, "device": "cpu", **options}
    return predict_file(models, out, **options)


# --- formats ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "separator"), [("o.tsv", "\t"), ("o.csv", ","), ("o.tsv.gz", "\t")])
def test_text(world, values, tmp_path, name, separator):  # noqa: F811
    result = predicted(world, tmp_path / name)
    if name.endswith(".gz"):
        (tmp_path / "plain").write_bytes(gzip.decompress((tmp_path / name).read_bytes()))
        name = "plain"
    rows = read_table(tmp_path / name, separator)
    assert list(rows[0]) == [
        "chrom",
        "start",
        "end",
        "name",
        "strand",
        "source_line",
        "status",
        "K562",
        *MULTI,
    ]
    assert [int(row["source_line"]) for row in rows] == list(range(1, len(ROWS) + 1))
    assert [row["status"] for row in rows] == [REASONS.get(line, "ok") for line in range(1, len(ROWS) + 1)]
    windows = [(row["chrom"], int(row["start"]), int(row["end"])) for row in rows if row["status"] == "ok"]
    assert windows == [window for _, window in ROWS if window]
    assert [row["strand"] for row in rows[:2]] == ["+", "."]
    scores = numbers(rows, "K562", *MULTI)
    np.testing.assert_allclose(scores[GOOD], values, atol=1e-5)
    assert np.isnan(np.delete(scores, GOOD, axis=0)).all()
    assert (rows[4]["start"], rows[5]["start"], rows[9]["end"]) == ("", "2200", "")
    assert result.counts["ok"] == len(GOOD)
    assert sum(result.counts.values()) == len(ROWS)


def test_parquet(world, values, tmp_path):  # noqa: F811
    import pyarrow.parquet as pq

    predicted(world, tmp_path / "o.parquet")
    table = pd.read_parquet(tmp_path / "o.parquet")
    assert [str(table[column].dtype) for column in ("K562", *MULTI)] == ["float32"] * 4
    np.testing.assert_allclose(table.loc[GOOD, ["K562", *MULTI]], values, atol=1e-5)
    assert table.loc[table["status"] != "ok", "K562"].isna().all()
    assert table["start"][GOOD].astype(int).tolist() == [window[1] for _, window in ROWS if window]
    record = json.loads(pq.read_metadata(tmp_path / "o.parquet").metadata[b"chromtransfer"])
    assert record["rows"]["ok"] == len(GOOD)
    assert record["columns"] == ["K562", *MULTI]


def test_bed(world, values, tmp_path):  # noqa: F811
    predicted(world, tmp_path / "o.bed")
    head, *lines = (tmp_path / "o.bed").read_text().splitlines()
    assert head == "\t".join(["#chrom", "start", "end", "name", "score", "strand", "K562", *MULTI])
    rows = [line.split("\t") for line in lines]
    assert rows[0][:6] == ["chr1", "100", "700", "K562", "7", "+"]
    assert rows[1][:6] == ["chr2", "3950", "4550", "K562", "0", "."]
    np.testing.assert_allclose(np.array([row[6:] for row in rows], dtype=float), values, atol=1e-5)
    dropped = [line.split("\t")[:2] for line in (tmp_path / "o.bed.dropped.tsv").read_text().splitlines()]
    assert dropped == [["line", "reason"], *([str(line), reason] for line, reason in REASONS.items())]


def test_bigwig_holds_the_mean_of_the_windows_over_each_base(world, values, tmp_path):  # noqa: F811
    import pybigtools

    result = predicted(world, tmp_path / "o.bw")
    names = [f"o.{column}.bw" for column in ("K562", *MULTI)]
    assert [path.name for path in result.files[:4]] == names
    assert not (tmp_path / "o.bw").exists()
    for column, name in enumerate(names):
        with pybigtools.open(str(tmp_path / name)) as bigwig:
            assert bigwig.chroms() == {chrom: len(text) for chrom, text in world.text.items()}
            for chrom, text in world.text.items():
                total, count = np.zeros(len(text)), np.zeros(len(text))
                windows = [window for _, window in ROWS if window]
                for (on, start, end), value in zip(windows, values[:, column], strict=True):
                    if on == chrom:
                        total[start:end] += value
                        count[start:end] += 1
                found = bigwig.values(chrom, 0, len(text), fillna=None)
                np.testing.assert_allclose(found[count > 0], (total / count.clip(1))[count > 0], atol=1e-5)
                assert np.isnan(found[count == 0]).all()


def test_coverage_against_a_sum_over_bases():
    rng = np.random.default_rng(0)
    start = rng.integers(0, 300, 80)
    end = start + rng.integers(1, 60, 80)
    values = rng.random((80, 2), dtype=np.float32)
    found = mean_coverage(start, end, values)
    assert (found.start[1:] >= found.end[:-1]).all()
    for column in range(2):
        dense = np.full(400, np.nan)
        for first, last, value in zip(found.start, found.end, found.values[:, column], strict=True):
            dense[first:last] = value
        for base in range(400):
            over = values[(start <= base) & (base < end), column]
            np.testing.assert_allclose(
                dense[base], over.astype(float).mean() if len(over) else np.nan, rtol=1e-6
            )


def test_the_table_of_the_original(world, tmp_path):  # noqa: F811
    texts = window_texts(world)
    other = {
        name: make_checkpoint(tmp_path / name, seed=seed) for seed, name in ((4, "MCF7"), (5, "pretrained"))
    }
    messages = []
    predicted(
        world, tmp_path / "o.csv", [other["MCF7"], world.binary, other["pretrained"]], format="original", width=600,
        report=messages.append,
    )  # fmt: skip
    lines = (tmp_path / "o.csv").read_text().splitlines()
    assert lines[0] == ",TL_Open_Closed,K562,MCF7"
    columns = [expected(model, texts)[:, 0] for model in (other["pretrained"], world.binary, other["MCF7"])]
    wanted = np.stack(columns, axis=1).astype(float)
    assert np.abs(wanted[:, :1] - wanted[:, 1:]).max() > 0.01
    for line, row, values in zip([lines[1 + row] for row in GOOD], GOOD, wanted, strict=True):
        region, *cells = line.split(",")
        chrom, start, end = ROWS[row][1]
        assert region == f"{chrom}:{start}-{end}"
        for cell, value in zip(cells, values, strict=True):
            assert abs(float(cell) - value) <= 0.0005 + 1e-5
            assert cell == str(round(float(cell), 3))
    assert lines[3] == "chr9:2-602,,,"
    assert lines[5] == "x,,,"  # no window is meant: its name stands there
    assert any("A549, HCT116, HEPG2, GM12878" in text for text in messages)
    names = ["TL_Open_Closed", "A549", "HCT116", "HEPG2", "K562", "GM12878", "MCF7"]
    seven = [f"{name.replace('TL_Open_Closed', 'pretrained')}={world.binary}" for name in reversed(names)]
    predicted(world, tmp_path / "all.csv", seven, format="original")
    assert (tmp_path / "all.csv").read_text().splitlines()[0] == "," + ",".join(names)
    with pytest.raises(ChromTransferError, match="'other' is none of its models"):
        predicted(world, tmp_path / "x.csv", [f"other={world.binary}"], format="original")
    with pytest.raises(ChromTransferError, match="'K562' has 3 outputs"):
        predicted(world, tmp_path / "x.csv", [f"K562={world.multi}"], format="original")


def test_text_reads_back_as_it_was():
    table = pd.DataFrame(
        {
            "name": pd.Series(["a", 'say "x"', "b,c", "d\te", "", "é"], dtype="str"),
            "start": pd.Series([1, None, -3, 4, 10**17, 0], dtype="Int64"),
            "p": np.array([1 / 3, 1e-9, np.nan, 1, 0, 0.1], dtype=np.float32),
        }
    )
    for separator in (",", "\t"):
        text = lines_of(table, separator)
        found = pd.read_csv(
            io.BytesIO(text), sep=separator, header=None, names=list(table), keep_default_na=False,
            na_values={"start": [""], "p": [""]}, dtype={"name": "str", "start": "Int64", "p": np.float32},
        )  # fmt: skip
        pd.testing.assert_frame_equal(found, table)
    assert lines_of(table.iloc[1:2], None) == b'say "x"\t\t1e-9\n'
    assert lines_of(table.iloc[:0], None) == b""


# --- independence of neighbours, batches and blocks ------------------------------------------------------


@pytest.mark.parametrize("both_strands", [False, True])
def test_lengths_are_never_padded_together(world, tmp_path, both_strands):  # noqa: F811
    rng = np.random.default_rng(2)
    rows = [
        ("chr1", int(start), int(start + length))
        for start, length in rng.integers([0, 1], [3000, 900], (30, 2))
    ]
    bed = tmp_path / "a.bed"
    bed.write_text("".join(f"{chrom}\t{start}\t{end}\n" for chrom, start, end in rows))
    wanted = expected(
        world.binary, [world.text[chrom][start:end] for chrom, start, end in rows], both_strands
    )
    for batch_size in (1, 7, 256):
        predicted(
            world, tmp_path / "o.tsv", world.binary, bed=bed, width="native", both_strands=both_strands,
            batch_size=batch_size,
        )  # fmt: skip
        np.testing.assert_allclose(numbers(read_table(tmp_path / "o.tsv"), "K562"), wanted, atol=1e-5)


def test_both_strands_by_hand(world, tmp_path):  # noqa: F811
    texts = [text.upper() for text in window_texts(world)]
    reverse = [text[::-1].translate(str.maketrans("ACGT", "TGCA")) for text in texts]
    logits = [np.log(p / (1 - p)) for p in (expected(world.binary, texts), expected(world.binary, reverse))]
    assert np.abs(logits[0] - logits[1]).max() > 0.1
    predicted(world, tmp_path / "o.tsv", world.binary, both_strands=True)
    found = numbers(read_table(tmp_path / "o.tsv"), "K562")[GOOD]
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-(logits[0] + logits[1]) / 2)), atol=1e-5)


def test_blocks_change_nothing(world, values, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(run, "BLOCK_ROWS", 5)
    monkeypatch.setattr(engine, "PIECE_BASES", 1300)
    monkeypatch.setattr("chromtransfer_plugin.text_blocks.text_blocks.__defaults__", (40,))
    held = []
    original = run._Run._check_numbers
    monkeypatch.setattr(
        run._Run, "_check_numbers", lambda self, block, v: (held.append(len(block)), original(self, block, v))
    )
    predicted(world, tmp_path / "o.tsv")
    assert max(held) <= 5
    assert len(held) > 3
    np.testing.assert_allclose(
        numbers(read_table(tmp_path / "o.tsv"), "K562", *MULTI)[GOOD], values, atol=1e-5
    )


# --- FASTA and CSV ---------------------------------------------------------------------------------------


def write_fasta(path, records, width=50):
    with gzip.open(path, "wt") if path.suffix == ".gz" else path.open("w") as out:
        for name, text in records:
            out.write(f">{name}\n")
            out.writelines(text[i : i + width] + "\n" for i in range(0, len(text), width))
    return path


def test_fasta_records_keep_their_own_length(world, tmp_path):  # noqa: F811
    text = world.text["chr1"]
    records = [
        ("K562::chr1:2900-3200(-) words", text[2900:3200]),
        ("plain", text[:77]),
        ("K562_NEG::chr1:5-9", text[100:700]),  # does not fit its name
        ("only", "N" * 40),
        ("plain", "RY" + text[:600] + "nn"),
        ("chr1:9007199254740993-9007199254740995", "AC"),  # 2**53 + 1 is no float
    ]
    messages = []
    for name in ("a.fa", "a.fa.gz"):
        fasta = write_fasta(tmp_path / name, records)
        predict_file(world.binary, tmp_path / "o.tsv", fasta=fasta, device="cpu", report=messages.append)
        rows = read_table(tmp_path / "o.tsv")
        wanted = expected(world.binary, [text for name, text in records if name != "only"])
        scores = numbers(rows, "K562")
        np.testing.assert_allclose(scores[[0, 1, 2, 4, 5]], wanted, atol=1e-5)
        assert rows[3]["status"] == "window holds nothing but N"
        assert [row["name"] for row in rows] == [name.split()[0] for name, _ in records]
        assert [row["label"] for row in rows] == ["K562", "", "K562_NEG", "", "", ""]
        assert [(row["chrom"], row["start"], row["end"]) for row in rows[:3]] == [
            ("chr1", "2900", "3200"), ("", "", ""), ("", "", ""),
        ]  # fmt: skip
        assert (rows[5]["start"], rows[5]["end"]) == ("9007199254740993", "9007199254740995")
        assert rows[0]["strand"] == "-"
        assert [int(row["source_line"]) for row in rows] == [1, 8, 11, 24, 26, 40]
    assert any("1 records have the name of an earlier one" in text for text in messages)


def test_a_width_cuts_the_middle_out_of_a_record(world, tmp_path):  # noqa: F811
    text = world.text["chr2"]
    records = [("chr2:100-700", text[100:700]), ("chr2:100-701(-)", text[100:701]), ("short", text[:99])]
    fasta = write_fasta(tmp_path / "a.fa", records)
    predict_file(world.binary, tmp_path / "o.tsv", fasta=fasta, width=100, device="cpu")
    rows = read_table(tmp_path / "o.tsv")
    wanted = expected(world.binary, [text[350:450], text[350:450]])
    np.testing.assert_allclose(numbers(rows, "K562")[:2], wanted, atol=1e-5)
    # The second runs from its end, 701: its bases 250 to 350 lie at 351 to 451.
    assert [(row["start"], row["end"], row["status"]) for row in rows] == [
        ("350", "450", "ok"), ("351", "451", "ok"), ("", "", "shorter than the width"),
    ]  # fmt: skip


def test_bed_output_of_a_fasta_has_the_records_with_coordinates(world, tmp_path):  # noqa: F811
    text = world.text["chr1"]
    fasta = write_fasta(tmp_path / "a.fa", [("x::chr1:5-105", text[5:105]), ("y", text[:50])])
    predict_file(world.binary, tmp_path / "o.bed", fasta=fasta, device="cpu")
    assert [line.split("\t")[:4] for line in (tmp_path / "o.bed").read_text().splitlines()[1:]] == [
        ["chr1", "5", "105", "x::chr1:5-105"]
    ]
    assert "no coordinates" in (tmp_path / "o.bed.dropped.tsv").read_text()
    fasta = write_fasta(tmp_path / "b.fa", [("y", text[:50])])
    with pytest.raises(ChromTransferError, match="no row has coordinates"):
        predict_file(world.binary, tmp_path / "p.bed", fasta=fasta, device="cpu")
    assert not (tmp_path / "p.bed").exists()
    assert not list(tmp_path.glob(".*"))


def test_csv_and_its_evaluation_files(world, tmp_path):  # noqa: F811
    from sklearn.metrics import average_precision_score, roc_auc_score

    rng = np.random.default_rng(0)
    starts = rng.integers(0, 1900, 40)
    labels = rng.choice(["K562", "K562_NEG", "Negative"], 40)
    table = tmp_path / "a.csv"
    table.write_text("".join(f"chr2:{s}-{s + 600},{name}\n" for s, name in zip(starts, labels, strict=True)))
    texts = [world.text["chr2"][s : s + 600] for s in starts]
    binary, multi = expected(world.binary, texts)[:, 0], expected(world.multi, texts)
    options = {"bed": None, "csv": table, "positive": "K562"}
    result = predicted(
        world, tmp_path / "o.tsv", **options, evaluation=tmp_path / "eval.csv", evaluation_calls=True
    )
    y = (labels == "K562").astype(int)
    for name, score, call in (
        ("K562", binary, binary > 0.5),
        ("multi", multi[:, 1], multi.argmax(axis=1) == 1),
    ):
        found = pd.read_csv(tmp_path / f"eval.{name}.csv", header=None)
        np.testing.assert_allclose(found[0], score, atol=1e-5)
        assert (found[1] == "K562").all()
        assert found[2].tolist() == labels.tolist()
        assert found[3].tolist() == y.tolist()
        assert found[4].tolist() == call.astype(int).tolist()
        figures = result.figures[name]
        assert (figures.n, figures.n_positive) == (40, y.sum())
        assert figures.auroc == pytest.approx(roc_auc_score(y, found[0]))
        assert figures.average_precision == pytest.approx(average_precision_score(y, found[0]))
    assert 0 < (multi.argmax(axis=1) == 1).sum() < 40
    assert ((multi.argmax(axis=1) == 1) != (multi[:, 1] > 0.5)).any()
    rows = read_table(tmp_path / "o.tsv")
    assert [row["label"] for row in rows] == labels.tolist()
    predicted(world, tmp_path / "p.tsv", world.binary, **options, evaluation=tmp_path / "one.csv")
    assert pd.read_csv(tmp_path / "one.csv", header=None).shape == (40, 4)
    predicted(world, tmp_path / "p.tsv", **options, evaluation=tmp_path / "z.csv.gz")
    for name in ("K562", "multi"):
        assert pd.read_csv(tmp_path / f"z.{name}.csv.gz", header=None).shape == (40, 4)
    with pytest.raises(ChromTransferError, match=r"no row has the label 'MCF7'.*Negative \d+"):
        predicted(world, tmp_path / "q.tsv", world.binary, **{**options, "positive": "MCF7"})
    with pytest.raises(ChromTransferError, match="'multi' has no output of this name to evaluate"):
        predicted(world, tmp_path / "q.tsv", **{**options, "positive": "Negative"})
    with table.open("a") as out:
        out.write("chr1:100-700,\n")
    with pytest.raises(ChromTransferError, match="line 41: has no label"):
        predicted(world, tmp_path / "q.tsv", **options)


# --- N and other letters ---------------------------------------------------------------------------------


def original_one_hot(sequences: list[str]) -> np.ndarray:
    """As the original script: upper case, N deleted, other letters repeat the last base, zeros behind."""
    cleaned = [sequence.upper().replace("N", "") for sequence in sequences]
    out = np.zeros((len(cleaned), 4, max(map(len, cleaned))), dtype=np.float32)
    for number, sequence in enumerate(cleaned):
        code = None
        for position, letter in enumerate(sequence):
            code = "ACGT".index(letter) if letter in "ACGT" else code
            out[number, code, position] = 1
    return out


@pytest.mark.parametrize("batch_size", [2, 256])
def test_original_policy_for_sequences(world, tmp_path, batch_size):  # noqa: F811
    from chromtransfer_plugin.checkpoint import load_model
    from chromtransfer_plugin.predict import predict_logits, probabilities

    text = world.text["chr1"]
    sequences = [
        text[:600], text[600:900] + "NNnn" + text[900:1100], "N" * 30 + text[:90] + "RYs" + text[90:200] + "N",
        "acgNNRNacgt" * 9, "A", "NNRACGT", "NNNN", text[:650],
    ]  # fmt: skip
    names = [f"s{number}" for number in range(len(sequences))]
    fasta = write_fasta(tmp_path / "a.fa", zip(names, sequences, strict=True), width=7)
    predict_file(
        world.binary,
        tmp_path / "o.tsv",
        fasta=fasta,
        n_policy="original",
        device="cpu",
        batch_size=batch_size,
    )
    rows = read_table(tmp_path / "o.tsv")
    assert [row["status"] for row in rows[5:7]] == [
        "starts with a letter that is no base, where the original stops",
        "window holds nothing but N",
    ]
    good = [0, 1, 2, 3, 4, 7]
    X = original_one_hot([sequences[number] for number in good])
    network, card = load_model(world.binary)
    wanted = probabilities(predict_logits(network, X), card.activation)
    np.testing.assert_allclose(numbers(rows, "K562")[good], wanted, atol=1e-5)
    alone = expected(world.binary, [sequences[number] for number in good])
    assert np.abs(alone - wanted).max() > 0.01  # the two policies do differ


def test_original_policy_for_regions(world, tmp_path, monkeypatch):  # noqa: F811
    from chromtransfer_plugin.checkpoint import load_model
    from chromtransfer_plugin.predict import predict_logits, probabilities

    monkeypatch.setattr(run, "BLOCK_ROWS", 2)
    windows = [(1500, 2100), (2700, 3300), (2990, 3001), (0, 300), (2000, 3000), (1990, 2600)]
    bed = tmp_path / "a.bed"
    bed.write_text("".join(f"chr2\t{start}\t{end}\n" for start, end in windows))
    predicted(world, tmp_path / "o.tsv", world.binary, bed=bed, n_policy="original")
    rows = read_table(tmp_path / "o.tsv")
    assert rows[4]["status"] == "window holds nothing but N"
    del rows[4], windows[4]
    X = original_one_hot([world.text["chr2"][start:end] for start, end in windows])
    assert X.shape[2] == 500  # shorter than the longest window
    network, card = load_model(world.binary)
    wanted = probabilities(predict_logits(network, X), card.activation)
    np.testing.assert_allclose(numbers(rows, "K562"), wanted, atol=1e-5)


# --- the command -----------------------------------------------------------------------------------------


def test_the_command_calls_the_same_function(world, tmp_path):  # noqa: F811
    predicted(world, tmp_path / "api.tsv")
    arguments = ["--bed", world.bed, "--genome", world.genome, "--device", "cpu"]
    result = CliRunner().invoke(
        main,
        ["predict", "--model", str(world.folder), "--out", str(tmp_path / "cli.tsv"), *map(str, arguments)],
    )
    assert result.exit_code == 0, result.output
    assert (tmp_path / "cli.tsv").read_bytes() == (tmp_path / "api.tsv").read_bytes()
    for text in (
        "device: cpu (1 threads)",
        "6 rows without a result",
        "line 3: contig is not in the genome: chr9",
    ):
        assert text in result.output
    record = json.loads((tmp_path / "cli.tsv.run.json").read_text())
    assert [model["name"] for model in record["models"]] == ["K562", "multi"]
    card = json.loads((world.binary / "card.json").read_text())
    assert record["models"][0]["weights_sha256"] == card["weights_sha256"]
    assert record["rows"]["ok"] == len(GOOD)
    assert record["device"] == "cpu (1 threads)"
    quiet = CliRunner().invoke(
        main,
        [
            "predict",
            "--quiet",
            "--model",
            str(world.binary),
            "--out",
            str(tmp_path / "q.tsv"),
            *map(str, arguments),
        ],
    )
    assert (quiet.exit_code, quiet.output) == (0, "")
