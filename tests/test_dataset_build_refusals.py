"""What `chromtransfer dataset build` refuses: each with its message, and nothing written."""

from __future__ import annotations

import shutil

import pytest
from genome_helpers import write_lines
from preparation_cases import (
    SIZES,
    build,
    config_of,
    funnel,
    peak_lines,
    refusal,
    signal_rows,
    table,
    write_bigwig,
    write_config,
    write_inputs,
)

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.preparation.config_file import read_config


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("original")
    regions = write_inputs(folder)
    build(folder)  # makes the cache of the genome as well
    return folder, regions


@pytest.fixture
def inputs(original, tmp_path):
    return shutil.copytree(original[0], tmp_path / "inputs", ignore=shutil.ignore_patterns("out"))


@pytest.fixture
def regions(original):
    return original[1]


def lines_with(**changes):
    return {**config_of()["lines"], **changes}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("genom: a.fa\nlines: {A: {peaks: a}}", r"line 1: unknown key 'genom'. Did you mean 'genome'\?"),
        (
            "genome: a\nlines:\n  A:\n    peak: a",
            r"line 4: unknown key 'lines.A.peak'. Did you mean 'peaks'\?",
        ),
        (
            "genome: a\nlines: {A: {peaks: a}}\ncalls:\n  treshold: 2",
            r"line 4: unknown key 'calls.treshold'. Did you mean 'threshold'\?",
        ),
        ("genome: a\nlines: {A: {peaks: a}}\nseed: x", "line 3: seed: .*integer.*, not 'x'"),
        ("genome: a\nlines: {A: {peaks: a}}\nwidth: 0", "line 3: width: .*greater than or equal to 1, not 0"),
        ("genome: a\ngenome: b", "line 2: the key 'genome' is given twice"),
        ("genome: [", "line 1: is no YAML"),
        (
            "lines: {A: {peaks: [${X}, b]}}",
            r"line 1: is no YAML .* Put values with \$\{...\} in quotation marks",
        ),
        ("just text", "expected keys such as"),
        ("", "expected keys such as"),
        ("genome: a", "the key 'lines' is missing"),
        ("lines: {A: {peaks: a}}", r"expected either `genome` \(FASTA\) or `contigs`"),
        ("genome: a\ncontigs: b\nlines: {A: {peaks: a}}", "expected either `genome`"),
        ("genome: a\nlines: {A: {}}", "line 2: lines.A: expected either `signal`"),
        ("genome: a\nlines: {A: {peaks: a, signal: b}}", "line 2: lines.A: expected either `signal`"),
        (
            "genome: a\nlines: {Negative: {peaks: a}}",
            "line 2: lines: the line 'Negative' cannot be called so",
        ),
        ("genome: a\nlines: {A_NEG: {peaks: a}}", "the line 'A_NEG' cannot be called so"),
        ("genome: a\nlines: {../A: {peaks: a}}", "the line '../A' cannot be called so"),
        ("genome: a\nlines: {k562: {peaks: a}, K562: {peaks: b}}", "differ in upper and lower case alone"),
        ("genome: a\nlines: {A: {peaks: a}, B: {peaks: a}}", "the file a is given twice, for A and for B"),
        ("genome: a\nlines: {A: {signal: a}}", "expected `regions`, as no line has `peaks`"),
        (
            "contigs: a\nlines: {A: {peaks: a}}\nnegatives: {match: gc}",
            "`negatives.match: gc` needs the sequence: give `genome`",
        ),
        (
            "contigs: a\nlines: {A: {peaks: a}}\nsplit: {by: homology}",
            "`split.by: homology` needs the sequence",
        ),
        ("lines: [A]", r"line 1: lines: expected keys below it \(names of lines\)"),
        (
            "lines: {A: a.bed}",
            r"line 1: lines.A: expected keys below it \(signal, peaks, ratio\), not 'a.bed'",
        ),
        ("genome: a\nlines: {A: {peaks: a}}\nsplit:", r"line 3: split: expected keys .*, not nothing"),
        (
            "genome: a\nlines: {A: {peaks: a}}\nsplit: {test: 2}",
            "line 3: split.test.0: expected text: put 2 in quotation marks",
        ),
        (
            "genome: a\nchromosomes: [1]\nlines: {A: {peaks: a}}",
            "line 2: chromosomes.0: expected text: put 1 in",
        ),
        (
            "genome: a\nlines:\n  yes: {peaks: a}",
            "line 3: the key 'yes' is no text for YAML: put it in quotation",
        ),
        ("genome: a\nlines:\n  1.50: {peaks: a}", "line 3: the key '1.50' is no text"),
        ("genome: !!python/name:os.system", "line 1: is no YAML .could not determine a constructor"),
        ("genome: a\nlines: {? [a] : {peaks: a}}", "line 2: is no YAML .found unhashable key"),
        ("lines: &a {A: *a}", r"holds an alias \(\*name\) of what the alias is part of"),
        (
            "genome: a\nlines: {A: {peaks: a, ratio: 1.0e+300}}",
            "lines.A.ratio: .*less than or equal to 1000000",
        ),
        (
            f"genome: a\nlines: {{A: {{peaks: a}}}}\nseed: {2**63}",
            "line 3: seed: .*less than 9223372036854775808",
        ),
        (f"genome: a\nlines: {{{'x' * 101}: {{peaks: a}}}}", "cannot be called so: up to 100 letters"),
        (
            "genome: ${NOT_SET}/a\nlines: {A: {peaks: a}}",
            "line 1: the environment variable NOT_SET is not set",
        ),
    ],
)
def test_a_bad_file_says_where_and_what(tmp_path, text, words):
    path = write_config(tmp_path, text)
    with pytest.raises(ChromTransferError, match=f"^{path}.*{words}"):
        read_config(path)


def test_the_environment_is_read(tmp_path, monkeypatch):
    monkeypatch.setenv("WHERE", "/data")
    path = write_config(tmp_path, 'genome: "${WHERE}/g.fa"\nlines: {A: {peaks: ["${WHERE}/${WHERE}.bed"]}}')
    config = read_config(path)
    assert (config.genome, config.lines["A"].peaks) == ("/data/g.fa", ["/data//data.bed"])


def test_a_missing_file_is_named_before_any_work(inputs):
    message = refusal(inputs, lines=lines_with(A={"signal": ["A.1.bw", "nowhere.bw"]}))
    assert message.startswith(
        f"{inputs}/nowhere.bw: no such file (named as 'nowhere.bw', relative to {inputs})"
    )


def test_a_line_may_not_be_called_like_what_is_written_or_a_kind_of_region(inputs):
    build(inputs)
    written = [path.name for path in (inputs / "out").iterdir() if path.name not in config_of()["lines"]]
    kinds = set(table(inputs / "out")["status"]) - set(config_of()["lines"])
    assert len(written) == 5
    assert kinds == {"background", "shared"}
    shutil.rmtree(inputs / "out")
    for name in [*written, *kinds]:
        assert f"the line '{name}' cannot be called so" in refusal(inputs, lines={name: {"peaks": "A.bed"}})


def test_a_folder_is_no_file(inputs):
    (inputs / "D.bw").mkdir()
    message = refusal(inputs, lines=lines_with(A={"signal": ["A.1.bw", "D.bw"]}))
    assert message.startswith(f"{inputs}/D.bw: is a folder, expected a file")
    assert "...: cannot be read (File name too long)." in refusal(inputs, regions=["x" * 300])


@pytest.mark.parametrize("key", ["blacklist", "gaps"])
def test_a_blacklist_or_gaps_of_another_naming(inputs, key):
    write_lines(inputs, "other.bed", "1\t0\t1000", "2\t0\t50")
    message = refusal(inputs, pretraining={key: "other.bed"})
    assert message.startswith(
        f"{inputs}/other.bed: none of its contigs is in the genome {inputs}/genome.fa. "
    )
    assert "The file says `1`, the genome says `chr1`" in message


def test_rows_of_a_blacklist_that_cannot_be_used_are_listed(inputs):
    write_lines(inputs, "blacklist.bed", "chr1\t0\t1000", "chr1\tx\t50")
    build(inputs)
    assert (inputs / "out" / "dropped.tsv").read_text().splitlines()[1:] == [
        "blacklist.bed\t2\tstart or end is not a whole number\tchr1 x 50"
    ]


def rename_contigs(inputs, regions, change):
    """Write A.1.bw anew with other names of contigs."""
    rows = [(change(chrom), *rest) for chrom, *rest in signal_rows(regions, "A", 1)]
    sizes = {change(name): size for name, size in SIZES.items()}
    write_bigwig(inputs / "A.1.bw", [row for row in rows if row[0]], {k: v for k, v in sizes.items() if k})


def test_a_bigwig_that_lacks_a_contig(inputs, regions):
    rename_contigs(inputs, regions, lambda name: "" if name == "chr3" else name)
    n = (regions["chrom"] == "chr3").sum()
    message = refusal(inputs)
    assert message.startswith(
        f"{inputs}/A.1.bw: does not have the contig chr3 (its contigs are chr1, chr2, chr4)"
    )
    assert (
        f"on which {n} regions lie. Take the file of the same assembly, limit `chromosomes`, or set"
        in message
    )
    manifest = build(inputs, calls={"missing_contigs": "closed"})
    closed = table(inputs / "out")
    assert (closed.loc[closed["chrom"] == "chr3", "z:A:1"] == -10).all()
    manifest = build(inputs, calls={"missing_contigs": "drop"}, split={"test": ["chr2"], "folds": 2})
    assert "chr3" not in set(table(inputs / "out")["chrom"])
    assert funnel(manifest, "calls")["on contigs that every file has data on"] == len(closed) - n


def test_a_bigwig_with_other_names_of_contigs(inputs, regions):
    rename_contigs(inputs, regions, lambda name: name.removeprefix("chr"))
    message = refusal(inputs)
    assert "A.1.bw: does not have the contig chr1 (it calls it 1: rename the contigs" in message
    assert "; 4 contigs are like this" in message


def test_a_bigwig_of_another_assembly(inputs, regions):
    write_bigwig(inputs / "A.1.bw", signal_rows(regions, "A", 1), {**SIZES, "chr2": 60_001})
    assert "A.1.bw: its chr2 has 60,001 bp, that of the genome has 60,000" in refusal(inputs)


def test_peaks_that_lack_a_contig(inputs):
    rows = (inputs / "A.bed").read_text().splitlines()
    write_lines(inputs, "A.bed", *(row for row in rows if not row.startswith("chr3")))
    message = refusal(inputs, lines=peak_lines())
    assert "A.bed: does not have the contig chr3 (its contigs are" in message
    build(inputs, lines=peak_lines(), calls={"missing_contigs": "closed"})
    found = table(inputs / "out")
    assert not found.loc[found["chrom"] == "chr3", "open:A"].any()


def test_a_line_without_anything_open(inputs):
    message = refusal(inputs, calls={"threshold": 9})
    assert message.startswith("A: has no positives: none of 142 regions is open in it")


def test_a_line_that_is_another_one_again(inputs):
    shutil.copy(inputs / "A.bed", inputs / "D.bed")
    n = len((inputs / "A.bed").read_text().splitlines())
    message = refusal(inputs, lines=peak_lines(D={"peaks": "D.bed"}))
    assert message.startswith(f"A: has no positives: of 142 regions {n} are open in it")
    assert f"({n} also open in D, " in message


def test_a_ratio_that_cannot_be_reached_names_the_largest(inputs, regions):
    negatives = {"ratio": 50, "from_other_lines": 0}
    message = refusal(inputs, negatives=negatives)
    n, background = (regions["open_in"] == "A").sum(), (regions["open_in"] == "").sum()
    assert (
        f"its {n} positives need {50 * n} regions that are open in no line, and {background} are there"
        in message
    )
    largest = float(message.split("The largest possible ratio is ")[1].split()[0])
    assert round(largest * n) == background
    alone = {"A": config_of()["lines"]["A"]}  # then more regions are open in no line
    more = refusal(inputs, negatives=negatives, lines=alone)
    largest = float(more.split("The largest possible ratio is ")[1].split()[0])
    build(inputs, lines=alone, negatives={**negatives, "ratio": largest})
    assert (table(inputs / "out", "A")["label"] == "A_NEG").sum() == (
        ~regions["open_in"].str.contains("A")
    ).sum()


def test_too_few_positives_of_other_lines(inputs, regions):
    n = (regions["open_in"].isin(["B", "C"])).sum()
    message = refusal(inputs, negatives={"ratio": 6, "from_other_lines": 1})
    assert (
        f"and {6 * (regions['open_in'] == 'A').sum()} positives of other lines, and {n} are there" in message
    )


@pytest.mark.parametrize(
    ("negatives", "words"),
    [
        (
            {"ratio": 0.01},
            "A: 11 positives at a ratio of 0.01 have no negatives at all. Raise the ratio to 0.09091",
        ),
        ({"universal": 5_000}, "negatives.universal: 5,000 regions are wanted, 95 are open in no line"),
        (
            {"ratio": 1, "universal": 12},
            "A: 11 positives at a ratio of 1 have 11 negatives, fewer than the 12",
        ),
    ],
)
def test_numbers_of_negatives_that_cannot_be(inputs, negatives, words):
    assert words in refusal(inputs, negatives=negatives)


def test_every_region_open(inputs):
    message = refusal(inputs, regions=None, lines=peak_lines())
    assert message.startswith("A: the ratio 3 cannot be reached:")
    assert "and 0 are there" in message
    assert message.endswith("or take positives of other lines alone: `from_other_lines: 1`.")
    message = refusal(inputs, regions=None, lines=peak_lines(), negatives={"ratio": 1, "from_other_lines": 1})
    assert message.startswith("pretraining: every one of ")
    assert "is open in some line" in message


def test_too_few_tiles(inputs):
    message = refusal(inputs, pretraining={"ratio": 9})
    assert "tiles and " in message
    largest = float(message.split("The largest possible `ratio` is ")[1].split(";")[0])
    manifest = build(inputs, pretraining={"ratio": largest})
    counts = funnel(manifest, "pre-training")
    assert (
        counts["negatives (closed), drawn from the tiles"]
        <= counts["tiles at least 300 bp from every region"]
    )
    message = refusal(inputs, pretraining={"distance": 50_000})
    assert message.startswith("pretraining: no tile is left that is 50,000 bp from every region")


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ({"test": ["chr9"]}, "split.test: no window lies on chr9; they lie on chr1, chr2, chr3, chr4"),
        ({"test": list(SIZES)}, "every window is on a test chromosome"),
        (
            {"test": ["chr1", "chr2"]},
            "3 folds by chromosome need as many .*there are 2. Set `split: {by: locus}`",
        ),
    ],
)
def test_bad_splits(inputs, split, words):
    import re

    assert re.search(words, refusal(inputs, split=split))


def test_regions_that_cannot_be_used(inputs):
    with (inputs / "rdhs.bed").open("a") as out:
        out.write("chr1\t5\t60\tedge\nchr9\t1\t900\tother\nchr4\t30200\t30400\tunknown bases\n")
    manifest = build(inputs)
    counts = funnel(manifest, "regions")
    assert counts["rows read"] - counts["that can be used (dropped.tsv lists the others)"] == 3
    dropped = (inputs / "out" / "dropped.tsv").read_text().splitlines()
    assert dropped == [
        "file\tline\treason\ttext",
        "rdhs.bed\t143\twindow reaches off the contig\tchr1 5 60 edge",
        "rdhs.bed\t144\tcontig is not in the genome\tchr9 1 900 other",
        "rdhs.bed\t145\twindow holds nothing but N\tchr4 30200 30400 unknown bases",
    ]
    message = refusal_with_only(inputs, "chr1\t5\t60")
    assert "none is left on the chosen chromosomes that can be used; 1 rows: window reaches off" in message


def refusal_with_only(inputs, row):
    shutil.rmtree(inputs / "out")
    write_lines(inputs, "rdhs.bed", row)
    return refusal(inputs)


def test_summits_need_a_narrowpeak(inputs):
    assert "rdhs.bed: `center: summit` needs a narrowPeak file" in refusal(inputs, center="summit")
    message = refusal(inputs, center="summit", regions=None, lines=peak_lines())
    assert "A.bed: `center: summit` needs a narrowPeak file" in message


def test_a_killed_write_leaves_nothing(inputs, monkeypatch):
    from chromtransfer_plugin.preparation import outputs

    def stopped(*_args, **_more):
        raise KeyboardInterrupt

    monkeypatch.setattr(outputs, "write_bed", stopped)
    with pytest.raises(KeyboardInterrupt):
        build(inputs)
    assert not (inputs / "out").exists()
    assert not list(inputs.glob(".tmp-*"))
