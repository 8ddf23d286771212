"""`score_variants`: numbers, all formats, what is left out, and what is refused."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pandas as pd
import pysam
import pytest
from variant_cases import (  # noqa: F401 - world is a fixture
    COLUMNS,
    HEADER,
    OTHER,
    Case,
    effects_by_hand,
    logits_by_hand,
    numbers,
    read_tsv,
    scored_alleles,
    world,
    write_cases,
)

from chromtransfer_plugin.checkpoint import sha256
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.variants import run
from chromtransfer_plugin.variants.run import score_variants

EFFECTS = ("p_ref", "p_alt", "difference", "log_odds")


def score(world, out, **options):  # noqa: F811
    options = {
        "models": world.models, "genome": world.genome, "null": "none", "device": "cpu", "batch_size": 16, **options
    }  # fmt: skip
    return score_variants(options.pop("vcf", world.vcf), out, **options)


@pytest.fixture(scope="module")
def outputs(world, tmp_path_factory):  # noqa: F811
    """All formats of one run, and its result and messages."""
    folder = tmp_path_factory.mktemp("outputs")
    messages: list[str] = []
    outs = [folder / name for name in ("o.vcf.gz", "o.vcf", "o.tsv", "o.tsv.gz", "o.parquet")]
    result = score(world, outs, top=4, report=messages.append)
    return folder, result, messages


def table_of(world, **options) -> list[dict[str, str]]:  # noqa: F811
    out = world.folder / "t.tsv"
    score(world, out, **options)
    return read_tsv(out)


# --- numbers ---------------------------------------------------------------------------------------------


def by_hand(world, **options) -> dict[str, np.ndarray]:  # noqa: F811
    """Effects of all columns."""
    one, multi = (
        effects_by_hand(*logits_by_hand(world, model, **options), softmax=softmax)
        for model, softmax in zip(world.models, (False, True), strict=True)
    )
    return {name: np.concatenate([one[name], multi[name]], axis=1) for name in EFFECTS}


@pytest.mark.parametrize(
    ("options", "hand"),
    [
        ({}, {}),
        ({"strand": "forward"}, {"strands": "+"}),
        ({"width": 301}, {"width": 301}),
    ],
)
def test_scores_are_those_of_plain_strings(world, options, hand):  # noqa: F811
    rows = [row for row in table_of(world, **options) if row["status"] == "scored"]
    expected = by_hand(world, **hand)
    assert np.abs(expected["log_odds"]).max() > 0.05
    for name in EFFECTS:
        found = numbers(rows, *(f"{column}.{name}" for column in COLUMNS))
        np.testing.assert_allclose(found, expected[name], atol=2e-5)


def test_the_shift_with_the_largest_effect_counts(world):  # noqa: F811
    rows = [row for row in table_of(world, shifts=[-60, 0, 75]) if row["status"] == "scored"]
    shifts = (0, -60, 75)  # the centred windows are always the first
    of_shifts = np.array([by_hand(world, shift=shift)["log_odds"] for shift in shifts])
    found = numbers(rows, *(f"{column}.log_odds" for column in COLUMNS))
    best = np.abs(of_shifts).max(axis=0)
    np.testing.assert_allclose(np.abs(found), best, atol=2e-5)
    chosen = np.searchsorted(sorted(shifts), numbers(rows, *(f"{column}.shift" for column in COLUMNS)))
    assert len(np.unique(chosen)) == 3
    in_order = of_shifts[np.argsort(shifts)]
    np.testing.assert_allclose(found, np.take_along_axis(in_order, chosen[None], axis=0)[0], atol=2e-5)
    assert rows == [row for row in table_of(world, shifts=[-60, 75]) if row["status"] == "scored"]


def test_an_ensemble_is_the_mean_of_its_members(world):  # noqa: F811
    from kipoi_cases import make_checkpoint

    members = [world.folder / "one", make_checkpoint(world.folder / "other", seed=9)]
    given = [f"mean={member}" for member in members]
    rows = [row for row in table_of(world, models=(), ensembles=given) if row["status"] == "scored"]
    ref, alt = np.mean([logits_by_hand(world, member) for member in members], axis=0)
    expected = effects_by_hand(ref, alt)
    np.testing.assert_allclose(numbers(rows, "mean.log_odds"), expected["log_odds"], atol=2e-5)


def test_blocks_and_batches_change_nothing(world, monkeypatch, tmp_path):  # noqa: F811
    first = score(world, tmp_path / "a.tsv").files[0].read_text()
    monkeypatch.setattr(run, "BLOCK_RECORDS", 2)
    monkeypatch.setattr(run, "SCORED_ROWS", 1)
    score(world, tmp_path / "b.tsv", batch_size=3)
    one, other = (pd.read_csv(tmp_path / name, sep="\t") for name in ("a.tsv", "b.tsv"))
    pd.testing.assert_frame_equal(one, other, atol=1e-5)
    assert first.count("\n") == len(one) + 1


# --- rows and formats --------------------------------------------------------------------------------------


def test_every_allele_has_a_row_in_input_order(world, outputs):  # noqa: F811
    rows = read_tsv(outputs[0] / "o.tsv")
    expected = [
        (case.chrom, str(case.pos), case.name, case.ref.upper(), alt.upper() if alt.isalpha() else alt, str(line), status)
        for line, case in enumerate(world.cases, world.first_line)
        for alt, status in zip(case.alt.split(","), case.statuses, strict=True)
    ]  # fmt: skip
    names = ("chrom", "pos", "id", "ref", "alt", "line", "status")
    assert [tuple(row[name] for name in names) for row in rows] == expected
    for row in rows:
        empty = [name for name in row if row[name] == ""]
        assert empty == ([] if row["status"] == "scored" else list(row)[8:])


def test_normalised_form_and_window_of_an_allele(world, outputs):  # noqa: F811
    rows = {(row["pos"], row["alt"]): row for row in read_tsv(outputs[0] / "o.tsv")}
    text = world.text["chr1"]
    for (pos, alt), row in rows.items():
        if row["status"] != "scored":
            continue
        text = world.text[row["chrom"]]
        given = changed_text(text, int(pos), row["ref"], alt)
        assert given == changed_text(text, int(row["norm_pos"]), row["norm_ref"], row["norm_alt"])
        assert int(row["window_end"]) - int(row["window_start"]) == 600
    snv = rows["700", OTHER[world.text["chr1"][699]]]
    assert (snv["norm_pos"], snv["norm_ref"], snv["window_start"]) == ("700", snv["ref"], str(699 - 299))
    first = rows["5999", world.text["chr1"][5998]]
    assert len(first["norm_ref"]) == 2
    assert first["norm_ref"][0] == first["norm_alt"]


def changed_text(text: str, pos: int, ref: str, alt: str) -> str:
    assert text[pos - 1 : pos - 1 + len(ref)] == ref
    return text[: pos - 1] + alt + text[pos - 1 + len(ref) :]


def test_a_deletion_of_the_first_bases_is_written_with_the_base_behind(world, tmp_path):  # noqa: F811
    text = world.text["chr1"]
    size = next(k for k in range(2, 9) if text[:k] != text[1 : k + 1] and text[k] != text[k - 1])
    cases = [Case("chr1", 1, text[: size + 1], text[size], ("scored",))]
    score(world, tmp_path / "o.tsv", vcf=write_cases(tmp_path / "a.vcf", cases))
    (row,) = read_tsv(tmp_path / "o.tsv")
    assert (row["norm_pos"], row["norm_ref"], row["norm_alt"]) == ("1", text[: size + 1], text[size])
    assert "edge" in row["flags"].split("|")


def test_all_formats_hold_the_same_numbers(world, outputs):  # noqa: F811
    folder = outputs[0]
    text = pd.read_csv(folder / "o.tsv", sep="\t", dtype={"line": "int64"})
    zipped = pd.read_csv(folder / "o.tsv.gz", sep="\t")
    pd.testing.assert_frame_equal(text, zipped)
    parquet = pd.read_parquet(folder / "o.parquet")
    assert list(parquet) == list(text)
    for name in text:
        if parquet[name].dtype.kind in "fi":
            kind = np.float32 if name.startswith(COLUMNS) else np.float64
            np.testing.assert_array_equal(parquet[name].to_numpy(kind), text[name].to_numpy(kind))
        else:
            assert parquet[name].fillna("").tolist() == text[name].fillna("").tolist()
    assert parquet.loc[parquet["status"] != "scored", "norm_ref"].isna().all()
    plain = (folder / "o.vcf").read_bytes()
    with pysam.BGZFile(str(folder / "o.vcf.gz")) as zipped_vcf:
        assert zipped_vcf.read() == plain
    table = iter(text.itertuples(index=False))
    names = list(text)
    with pysam.VariantFile(str(folder / "o.vcf.gz")) as vcf:
        for record in vcf:
            for number in range(len(record.alts or ".")):
                row = dict(zip(names, next(table), strict=True))
                assert record.info["CT_STATUS"][number] == row["status"]
                assert (record.info["CT_FLAGS"][number] or ".") == row["flags"]
                for column in COLUMNS:
                    prefix = "CT_" + column.replace(".", "_")
                    for field, name in zip(("REF", "ALT", "DIFF", "LOGODDS"), EFFECTS, strict=True):
                        values = record.info.get(f"{prefix}_{field}")
                        found = np.nan if values is None or values[number] is None else values[number]
                        np.testing.assert_allclose(found, row[f"{column}.{name}"], rtol=6e-6)
    assert next(table, None) is None


def test_top_is_the_largest_effects_of_any_column(world, outputs):  # noqa: F811
    folder, result, _ = outputs
    table = pd.read_parquet(folder / "o.parquet")
    sizes = table[[f"{column}.log_odds" for column in COLUMNS]].abs().max(axis=1)
    best = sizes.sort_values(ascending=False).index[:4]
    assert result.top["line"].tolist() == table["line"][best].tolist()
    assert result.top["alt"].tolist() == table["alt"][best].tolist()
    np.testing.assert_array_equal(result.top["one.log_odds"], table["one.log_odds"][best])
    for row in result.top.itertuples():
        text = world.text[row.chrom]
        assert text[row.start :].startswith(row.old)
        assert changed_text(text, row.start + 1, row.old, row.new) == changed_text(
            text, row.pos, row.ref, row.alt
        )


def test_top_over_many_blocks(world, monkeypatch, tmp_path):  # noqa: F811
    whole = score(world, tmp_path / "a.tsv", top=3).top
    monkeypatch.setattr(run, "BLOCK_RECORDS", 2)
    pd.testing.assert_frame_equal(score(world, tmp_path / "b.tsv", top=3).top, whole, atol=1e-5)
    assert len(score(world, tmp_path / "b.tsv", top=99).top) == len(scored_alleles(world))


# --- counts, record, messages ------------------------------------------------------------------------------


def test_what_has_no_score_is_counted_listed_and_told(world, outputs):  # noqa: F811
    folder, result, messages = outputs
    expected = Counter(status for case in world.cases for status in case.statuses)
    assert result.counts == expected
    assert result.columns == list(COLUMNS)
    dropped = read_tsv(folder / "o.vcf.gz.dropped.tsv")
    lines = [
        (str(line), status)
        for line, case in enumerate(world.cases, world.first_line)
        for status in case.statuses
        if status != "scored"
    ]
    assert [(row["line"], row["status"]) for row in dropped] == lines
    assert dropped[0]["variant"] == f"chr1:800:{world.text['chr1'][799]}:*"
    text = "\n".join(messages)
    n_alleles, n_scored = expected.total(), expected["scored"]
    assert f"{len(world.cases)} records with {n_alleles} alleles, {n_scored} scored\n" in text
    assert "  2 x symbolic: ALT is symbolic or a breakend, first in line " in text
    assert "WARNING: REF is not what the genome has in 1 of 11 alleles (9.1%)" in text
    assert "WARNING: 1 alleles lie on contigs that the genome does not have." in text
    # Two strands, REF and ALT of each; REF windows that several ALT alleles share are one.
    assert f"windows: {4 * n_scored} asked for" in text
    names = ["o.vcf.gz", "o.vcf.gz.tbi", "o.vcf", "o.tsv", "o.tsv.gz", "o.parquet"]
    names += ["o.vcf.gz.dropped.tsv", "o.vcf.gz.run.json"]
    assert result.files == [folder / name for name in names]
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)


def test_the_record_says_how_it_was_made(world, outputs):  # noqa: F811
    record = json.loads((outputs[0] / "o.vcf.gz.run.json").read_text())
    assert record["input"] == {"path": str(world.vcf), "sha256": sha256(world.vcf)}
    assert record["genome"] == {"path": str(world.genome), "identity": Genome(world.genome).identity}
    weights = [model["members"][0]["weights_sha256"] for model in record["models"]]
    assert weights == [sha256(model / "model.safetensors") for model in world.models]
    assert record["alleles"]["scored"] == len(scored_alleles(world))
    assert record["windows"]["asked_for"] == 4 * len(scored_alleles(world))
    kept = {key: record[key] for key in ("window", "strand", "shifts", "edges", "swap", "null", "device")}
    assert kept == {
        "window": 600, "strand": "both", "shifts": [0], "edges": "pad", "swap": False, "null": None,
        "device": "cpu (1 threads)",
    }  # fmt: skip


def test_nothing_dropped_leaves_no_list(world, tmp_path):  # noqa: F811
    score(world, tmp_path / "o.tsv")
    assert (tmp_path / "o.tsv.dropped.tsv").exists()
    good = [case for case in world.cases if set(case.statuses) == {"scored"}]
    messages = []
    score(world, tmp_path / "o.tsv", vcf=write_cases(tmp_path / "a.vcf", good), report=messages.append)
    assert not (tmp_path / "o.tsv.dropped.tsv").exists()
    assert not any("WARNING" in text for text in messages)


def test_a_file_without_anything_to_score_gives_its_outputs_and_a_warning(world, tmp_path):  # noqa: F811
    cases = [case for case in world.cases if case.statuses in (("no_alt",), ("letters",))]
    messages = []
    outs = [tmp_path / "o.vcf.gz", tmp_path / "o.parquet"]
    result = score(world, outs, vcf=write_cases(tmp_path / "a.vcf", cases), report=messages.append, top=5)
    assert result.counts == {"no_alt": 1, "letters": 1}
    assert len(result.top) == 0
    assert any("WARNING: nothing was scored" in text for text in messages)
    with pysam.VariantFile(str(outs[0])) as vcf:
        assert [record.info["CT_STATUS"] for record in vcf] == [("no_alt",), ("letters",)]
    assert len(pd.read_parquet(outs[1])) == 2


def snv_lines(world, chrom="chr1"):  # noqa: F811
    text = world.text["chr1"]
    return [Case(chrom, pos, text[pos - 1], OTHER[text[pos - 1]], ("scored",)) for pos in (700, 900)]


def test_lines_without_any_record(world, tmp_path, monkeypatch):  # noqa: F811
    """Blocks in which nothing is a record, first, last or all."""
    monkeypatch.setattr(run, "BLOCK_RECORDS", 2)
    bad, good = ["bad", "worse"], [case.line for case in snv_lines(world)]
    for n, lines in enumerate((bad, bad + good, good + bad)):
        vcf = tmp_path / f"{n}.vcf"
        vcf.write_text("".join(f"{line}\n" for line in [*HEADER, *lines]))
        outs = [tmp_path / f"{n}.o{suffix}" for suffix in (".vcf.gz", ".tsv", ".parquet")]
        counts = score(world, outs, vcf=vcf).counts
        assert counts == ({"scored": 2} if n else {}) | {"rejected": 2}
        assert len(read_tsv(outs[1])) == (2 if n else 0)
        listed = read_tsv(tmp_path / f"{n}.o.vcf.gz.dropped.tsv")
        assert [row["variant"] for row in listed] == bad
        with pysam.VariantFile(str(outs[0])) as found:
            assert len(list(found)) == len(lines) - 2


def test_a_header_alone_gives_empty_outputs(world, tmp_path):  # noqa: F811
    outs = [tmp_path / name for name in ("o.vcf.gz", "o.tsv", "o.parquet")]
    result = score(world, outs, vcf=write_cases(tmp_path / "a.vcf", []), top=5)
    assert result.counts == {}
    with pysam.VariantFile(str(outs[0])) as vcf:
        assert list(vcf) == []
        assert "CT_one_REF" in vcf.header.info
    assert read_tsv(outs[1]) == []
    assert outs[1].read_text().startswith("chrom\tpos\tid\t")
    assert list(pd.read_parquet(outs[2])) == outs[1].read_text().strip().split("\t")
