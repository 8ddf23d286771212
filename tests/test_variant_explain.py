"""Attribution around variants against constructions from strings, and the folder of figures."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from explain_cases import COMPLEMENT, KINDS, WORD, make_text, rows, variant
from kipoi_cases import make_checkpoint

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.onehot import decode, encode, one_hot
from chromtransfer_plugin.variants.effects import effects_of
from chromtransfer_plugin.variants.explain import explain_variants
from chromtransfer_plugin.variants.explain_alleles import GAP, AlleleScores, Variant, align
from chromtransfer_plugin.variants.explain_scores import attribute_alleles
from chromtransfer_plugin.variants.models import choose_predictors
from chromtransfer_plugin.variants.scorer import Scorer, Settings

REACH = 20


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return [make_checkpoint(folder / name, seed=seed) for seed, name in enumerate(("one", "two"))]


@pytest.fixture(scope="module")
def text() -> str:
    return make_text()


@pytest.fixture(scope="module")
def genome(text, tmp_path_factory) -> Genome:
    folder = tmp_path_factory.mktemp("genome")
    (folder / "g.fa").write_text(f">chr1\n{text}\n")
    return Genome(folder / "g.fa", folder / "cache")


@pytest.fixture(scope="module")
def motif_file(tmp_path_factory) -> Path:
    rows = "\n".join(" ".join("0.97" if base == letter else "0.01" for base in "ACGT") for letter in WORD)
    path = tmp_path_factory.mktemp("motifs") / "m.meme"
    path.write_text(
        "MEME version 4\n\nALPHABET= ACGT\n\nMOTIF MA0001.1 FAC<1>\n"
        f"letter-probability matrix: alength= 4 w= {len(WORD)} nsites= 20 E= 0\n{rows}\n"
    )
    return path


def scored(table: pd.DataFrame, predictors, genome: Genome, settings: Settings) -> pd.DataFrame:
    scorer = Scorer(predictors, genome, settings)
    with scorer.ready():
        effects = effects_of(scorer.score(table), predictors)
    columns = [column for predictor in predictors for column in predictor.columns]
    for at, column in enumerate(columns):
        for name, values in zip(effects._fields, effects, strict=True):
            table[f"{column}.{name}"] = values[:, at]
    return table


def settings(**values) -> Settings:
    return Settings(600, device="cpu", **values)


def attribute(row, predictor, genome, method="ism", shift=0, **values):
    return attribute_alleles(row, predictor, 0, genome, settings(**values), method, REACH, shift, "cpu")


def changed(text: str, row) -> str:
    return text[: row.start] + row.new + text[row.start + len(row.old) :]


@pytest.mark.parametrize("kind", KINDS)
def test_mutagenesis_is_that_of_the_sequences(kind, text, genome, models) -> None:
    """Each base changed by hand in the windows of both strands, through both members of an ensemble."""
    from chromtransfer_plugin.variants.windows import allele_windows, window_starts

    predictor = choose_predictors([], [f"both={model}" for model in models])[0]
    table = rows(genome, variant(text, kind))
    row = table.iloc[0]
    found = attribute(table, predictor, genome)
    for own, sequence, allele in zip(found, (text, changed(text, row)), ("ref", "alt"), strict=True):
        assert own.start == row.start - REACH
        n = len(own.codes)
        assert decode(own.codes) == sequence[own.start : own.start + n]
        assert n == 2 * REACH + len(row.old if allele == "ref" else row.new)
        for at in range(0, n, 5):
            mutants = [sequence[: own.start + at] + base + sequence[own.start + at + 1 :] for base in "ACGT"]
            logits = np.zeros(4)
            for strand in ("+", "-"):
                begin = int(window_starts(table, allele, 600, strand)[0])
                windows = [mutant[begin : begin + 600] for mutant in mutants]
                if strand == "-":
                    windows = [window[::-1].translate(COMPLEMENT) for window in windows]
                else:
                    assert decode(allele_windows(genome, table, allele)[0]) == sequence[begin : begin + 600]
                X = torch.from_numpy(np.stack([one_hot(encode(window)) for window in windows]))
                with torch.inference_mode():
                    logits += sum(member.network(X)[:, 0].numpy() for member in predictor.members) / 4
            observed = logits["ACGT".index(sequence[own.start + at])]
            assert own.scores[at] == pytest.approx(observed - logits.mean(), abs=2e-5)


@pytest.mark.parametrize("method", ["ism", "gradient-x-input"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_reverse_complement_gives_the_same(method, kind, text, genome, models, tmp_path) -> None:
    predictor = choose_predictors([models[0]])[0]
    table = rows(genome, variant(text, kind))
    row = table.iloc[0]
    (tmp_path / "rc.fa").write_text(f">chr1\n{text[::-1].translate(COMPLEMENT)}\n")
    turned_genome = Genome(tmp_path / "rc.fa", tmp_path)
    start, end = row.start - 1, row.start + len(row.old) + 1  # with a base on either side, as a VCF would
    alleles = (text[start:end], text[start] + row.new + text[end - 1])
    ref, alt = (bases[::-1].translate(COMPLEMENT) for bases in alleles)
    turned = rows(turned_genome, (len(text) - end + 1, ref, alt))
    one, two = (
        attribute(table, predictor, genome, method),
        attribute(turned, predictor, turned_genome, method),
    )
    slide = int(row.slide)  # the repeat is written at its left end, which is the other one there
    assert slide == turned.slide[0]
    for a, b in zip(one, two, strict=True):
        n = len(a.scores) - slide
        np.testing.assert_allclose(a.scores[slide:], b.scores[::-1][:n], atol=2e-5)
        assert np.abs(a.scores).max() > 1e-3


def test_ensemble_and_strands_are_means(text, genome, models) -> None:
    table = rows(genome, variant(text, "snv"))
    single = [choose_predictors([model])[0] for model in models]
    both = choose_predictors([], [f"both={model}" for model in models])[0]
    members = [attribute(table, one, genome, "gradient-x-input") for one in single]
    found = attribute(table, both, genome, "gradient-x-input")
    for allele in (0, 1):
        mean = np.mean([member[allele].scores for member in members], axis=0)
        np.testing.assert_allclose(found[allele].scores, mean, atol=1e-6)
    plus = attribute(table, single[0], genome, strands=("+",))
    minus = attribute(table, single[0], genome, strands=("-",))
    either = attribute(table, single[0], genome)
    np.testing.assert_allclose(either[1].scores, (plus[1].scores + minus[1].scores) / 2, atol=1e-6)
    assert np.abs(plus[1].scores - minus[1].scores).max() > 1e-3


def test_what_no_window_holds_is_not_known(text, genome, models) -> None:
    predictor = choose_predictors([models[0]])[0]
    table = rows(genome, (1501, text[1500], text[1500] + "ACGGT" * 180))
    ref, alt = attribute(table, predictor, genome, "gradient-x-input")
    assert np.isfinite(ref.scores).all()
    known = np.flatnonzero(np.isfinite(alt.scores))
    assert len(known) == 600
    assert known[0] == REACH + 150
    assert np.isnan(alt.total(alt.start, alt.start + 5))
    assert alt.total(alt.start - 1, alt.start + 5) != alt.total(alt.start - 1, alt.start + 5)


@pytest.mark.parametrize("method", ["ism", "gradient-x-input"])
def test_what_lies_off_the_contig_is_unknown(method, text, genome, models) -> None:
    predictor = choose_predictors([models[0]])[0]
    table = rows(
        genome, (6, text[5], text[5] + "GATTACA"), (len(text), text[-1], "A" if text[-1] != "A" else "C")
    )
    for own in attribute(table.iloc[:1], predictor, genome, method):
        off = REACH - table.start[0]
        assert (own.codes[:off] == 4).all()
        assert not own.scores[:off].any()
        assert np.abs(own.scores[off:]).min() > 0
    for own in attribute(table.iloc[1:], predictor, genome, method):
        assert (own.codes[-REACH:] == 4).all()
        assert not own.scores[-REACH:].any()


def view(start: int, sequence: str) -> AlleleScores:
    return AlleleScores(start, encode(sequence), np.arange(len(sequence), dtype=float))


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize(
    ("old", "new", "upper", "lower"),
    [
        ("A", "G", "CAT", "CGT"),
        ("", "GG", "C--T", "CGGT"),
        ("AAA", "", "CAAAT", "C---T"),
        ("AA", "GGG", "CAA-T", "CGGGT"),
    ],
)
def test_alleles_share_an_axis(old, new, upper, lower, swapped) -> None:
    """A flank of 1 bp of the 2 bp that are known."""
    bases = (new, old) if swapped else (old, new)
    one = Variant("chr1", 100, bases, int(swapped))
    alleles = tuple(view(98, f"GC{own}TG") for own in bases)
    found = align(one, alleles, 1)
    shown = ["".join("ACGTN-"[code] for code in row) for row in found.codes]
    assert shown == ([lower, upper] if swapped else [upper, lower])
    assert (found.first, found.last) == (1, 1 + max(len(old), len(new)))
    genome_row = shown[int(swapped)]
    assert [p >= 0 for p in found.positions] == [letter != "-" for letter in genome_row]
    on_genome = found.positions[found.positions >= 0]
    assert on_genome.tolist() == list(range(99, 99 + len(on_genome)))
    for number, own in enumerate(bases):
        has = found.codes[number] != GAP
        assert found.scores[number][has].tolist() == list(range(1, 3 + len(own)))
        assert not found.scores[number][~has].any()
        columns = [found.column(one, number, p) for p in range(99, 101 + len(own))]
        assert columns == np.flatnonzero(has).tolist()


def explain(table, predictors, genome, out, motif_file, **options):
    lines: list[str] = []
    values = options.pop("settings", settings())
    paths = explain_variants(
        table,
        predictors,
        genome,
        values,
        out,
        motifs=motif_file,
        device="cpu",
        report=lines.append,
        **options,
    )
    return paths, lines


def test_folder(text, genome, models, motif_file, tmp_path) -> None:
    predictors = choose_predictors(models)
    table = rows(genome, (1005, "TG", "GC"), variant(text, "insertion"))
    table["id"] = ["rs5", "."]
    table = scored(table, predictors, genome, settings())
    table["two.log_odds"] = [9.0, 0.0]  # so that the columns differ
    paths, lines = explain(table, predictors, genome, tmp_path / "out", motif_file, method="gradient-x-input")
    stems = ["001_chr1_1005", "002_chr1_1501"]
    names = ["index.html", *(f"figures/{stem}.{kind}" for stem in stems for kind in ("png", "svg"))]
    assert paths == [tmp_path / "out" / name for name in [*names, "hits.tsv", "explain.json"]]
    assert all(path.stat().st_size for path in paths)
    assert lines == [f"2 variants with 0 gained, 1 lost, 0 changed sites of motifs explained in {paths[0]}"]
    hits = pd.read_csv(paths[-2], sep="\t")
    assert hits.loc[0, ["rank", "id", "column", "change", "motif_id", "motif_name"]].tolist() == [
        1, "rs5", "two", "lost", "MA0001.1", "FAC<1>",
    ]  # fmt: skip
    assert (hits["start"][0], hits["end"][0], hits["chrom"][0], hits["pos"][0]) == (1000, 1010, "chr1", 1005)
    own = attribute(table.iloc[:1], predictors[1], genome, "gradient-x-input")[0]
    assert hits["attribution_ref"][0] == pytest.approx(own.total(1000, 1010), rel=1e-4)
    record = json.loads(paths[-1].read_text())
    assert record["variants"] == 2
    assert [model["name"] for model in record["models"]] == ["one", "two"]
    page = paths[0].read_text()
    assert "FAC&lt;1&gt;" in page
    assert "FAC<1>" not in page
    # again, in the place of the first; one column alone
    again, _ = explain(
        table, predictors, genome, tmp_path / "out", motif_file, method="gradient-x-input", columns=["one"]
    )
    assert set(pd.read_csv(again[-2], sep="\t")["column"]) == {"one"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_shift_of_the_score_is_taken(text, genome, models, motif_file, tmp_path, monkeypatch) -> None:
    from chromtransfer_plugin.variants import explain as module

    values = settings(shifts=(-40, 0, 70))
    predictors = choose_predictors(models)
    table = scored(rows(genome, variant(text, "snv")), predictors, genome, values)
    scorer = Scorer(predictors, genome, values)
    with scorer.ready():
        shifts = scorer.score(table).shift[0].tolist()
    seen = []
    kept = module.attribute_alleles
    monkeypatch.setattr(module, "attribute_alleles", lambda *args: seen.append(args[-2]) or kept(*args))
    for column in ("one", "two"):
        explain(table, predictors, genome, tmp_path / column, motif_file, settings=values, columns=[column])
    assert seen == shifts
    assert any(shifts)


def test_no_variants_make_a_page_that_says_so(genome, models, motif_file, tmp_path, text) -> None:
    predictors = choose_predictors(models[:1])
    table = scored(rows(genome, variant(text, "snv")), predictors, genome, settings()).iloc[:0]
    paths, _ = explain(table, predictors, genome, tmp_path / "out", motif_file)
    assert [path.name for path in paths] == ["index.html", "hits.tsv", "explain.json"]
    assert "There is no variant to show" in paths[0].read_text()
    assert len(paths[1].read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"method": "magic"}, "method 'magic' is unknown, use one of ism, gradient-x-input"),
        ({"flank": 0}, "flank=0 bp"),
        ({"columns": ["three"]}, "no output 'three' to explain; there are one"),
        ({"columns": []}, "no output to explain"),
        ({"motifs": "absent.meme"}, "no such motif file"),
        ({"threshold": 0}, "threshold=0"),
        ({"drop": "one.p_ref"}, "the table has no column one.p_ref"),
        ({"nan": "one.log_odds"}, "chr1:1501 .* has no score to explain"),
        ({"out": "other"}, "holds other files"),
    ],
)
def test_bad_input(edit, message, text, genome, models, motif_file, tmp_path) -> None:
    predictors = choose_predictors(models[:1])
    table = scored(rows(genome, variant(text, "snv")), predictors, genome, settings())
    if "drop" in edit:
        table = table.drop(columns=edit.pop("drop"))
    if "nan" in edit:
        table[edit.pop("nan")] = np.nan
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("kept")
    out = tmp_path / edit.pop("out", "out")
    with pytest.raises(ChromTransferError, match=message):
        explain(table, predictors, genome, out, edit.pop("motifs", motif_file), **edit)
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_flags_and_ids_as_text_or_numbers() -> None:
    from chromtransfer_plugin.variants.explain import _flag_text

    assert [_flag_text(value) for value in (0, 3, np.int8(8), ".", "", "edge|N")] == [
        "", "swapped|moved", "edge", "", "", "edge|N",
    ]  # fmt: skip
    assert Variant.of(SimpleNamespace(chrom="c", start=3, old="A", new="", swapped=True)).bases == ("", "A")
