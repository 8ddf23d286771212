"""`chromtransfer variants`: options, messages, exit status, figures; and the real VCF."""

from __future__ import annotations

import gzip
import inspect
import re
import shutil
import subprocess
import sys
from collections import Counter

import pysam
import pytest
from click.testing import CliRunner
from genome_helpers import real_data_folder
from variant_cases import read_tsv, scored_alleles, world  # noqa: F401 - world is a fixture

from chromtransfer_plugin.cli import main
from chromtransfer_plugin.cli.variants import variants
from chromtransfer_plugin.constants import SEED
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.variants import run
from chromtransfer_plugin.variants.null import make_null
from chromtransfer_plugin.variants.run import score_variants


def command(world, out, *options, model=True):  # noqa: F811
    models = ["--model", world.models[0]] if model else []
    arguments = [
        "variants",
        world.vcf,
        "--genome",
        world.genome,
        *models,
        "-o",
        out,
        "--device",
        "cpu",
        *options,
    ]
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_command_writes_what_it_says(world, tmp_path):  # noqa: F811
    out = tmp_path / "o.vcf.gz"
    result = command(
        world, out, "-o", tmp_path / "o.tsv", "--null", "none", "--shift", "-50", "--shift", "50"
    )
    assert result.exit_code == 0, result.output
    assert f"{len(scored_alleles(world))} scored" in result.stderr
    assert f"written: {out}, {out}.tbi, {tmp_path / 'o.tsv'}, {out}.dropped.tsv" in result.stderr
    assert result.stdout == ""
    shifts = {row["one.shift"] for row in read_tsv(tmp_path / "o.tsv")} - {""}
    assert shifts <= {"0", "-50", "50"}
    assert "##chromtransferShifts=0,-50,50" in gzip.decompress(out.read_bytes()).decode()


def test_quiet_says_nothing(world, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setenv("CHROMTRANSFER_CACHE", str(tmp_path / "cache"))  # so that the null is drawn
    Genome(world.genome)  # says that it is built
    bars = []
    monkeypatch.setattr(
        run, "make_null", lambda *given, **named: bars.append(given[6]) or make_null(*given, **named)
    )
    result = command(world, tmp_path / "o.tsv", "--null-size", "20", "--quiet")
    assert (result.exit_code, result.output) == (0, "")
    assert bars == [False]


def test_an_error_is_one_line_and_leaves_nothing(world, tmp_path):  # noqa: F811
    result = command(world, tmp_path / "o.xls")
    assert result.exit_code == 1
    assert re.fullmatch(r"Error: \S+o\.xls: the name does not tell a format\. .*\n", result.stderr)
    assert "no model given" in command(world, tmp_path / "o.tsv", model=False).stderr
    assert list(tmp_path.iterdir()) == []


def test_options_have_the_names_and_defaults_of_the_function(monkeypatch, world, tmp_path):  # noqa: F811
    given = {}
    monkeypatch.setattr(run, "score_variants", lambda vcf, **options: given.update(options))
    assert command(world, tmp_path / "o.tsv").exit_code == 0
    parameters = inspect.signature(score_variants).parameters
    assert set(given) == set(parameters) - {"vcf"}
    for name, parameter in parameters.items():
        if name not in ("vcf", "out", "genome", "models", "progress", "report", "shifts", "device"):
            assert given[name] == parameter.default, name
    assert (given["shifts"], given["seed"], given["top"]) == ((), SEED, 0)
    options = [
        "--figures",
        "f",
        "--top",
        "7",
        "--ensemble",
        "a=b",
        "--strand",
        "forward",
        "--edges",
        "skip",
        "--swap",
    ]
    command(
        world,
        tmp_path / "o.tsv",
        *options,
        "--null-size",
        "9",
        "--cache",
        "c",
        "--width",
        "300",
        "--seed",
        "4",
    )
    assert (given["top"], str(given["figures"]), given["ensembles"]) == (7, "f", ("a=b",))
    assert (given["strand"], given["edges"], given["swap"], given["null_size"]) == (
        "forward",
        "skip",
        True,
        9,
    )
    assert (str(given["cache"]), given["width"], given["seed"]) == ("c", 300, 4)


def test_help_explains_every_option_without_torch():
    for option in variants.params:
        assert getattr(option, "help", "") or option.name == "vcf", option.name
    code = "import sys; from chromtransfer_plugin.cli import main; main(['variants', '--help'], standalone_mode=False); "
    code += "assert not {'torch', 'pandas', 'pysam'} & set(sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert "--null-regions" in shown


def test_public_names_can_be_imported_without_torch():
    code = "import sys, chromtransfer_plugin as c, chromtransfer_plugin.variants as v\n"
    code += "assert all(getattr(v, name) for name in v.__all__) and not hasattr(v, 'x')\n"
    code += "assert c.score_variants is v.score_variants and 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_percentiles_come_from_the_null(world, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setenv("CHROMTRANSFER_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "o.vcf"
    result = command(world, out, "-o", tmp_path / "o.tsv", "--null-size", "40", "--seed", "3")
    assert result.exit_code == 0, result.output
    rows = [row for row in read_tsv(tmp_path / "o.tsv") if row["status"] == "scored"]
    by_size = sorted(rows, key=lambda row: abs(float(row["one.log_odds"])))
    for name, sign in (("percentile", 1), ("p_value", -1)):
        values = [sign * float(row[f"one.{name}"]) for row in by_size]
        assert values == sorted(values)
        assert len(set(values)) > 1
    for row in rows:  # 40 drawn: of k smaller ones 100 k / 40 percent, and p = (1 + 40 - k) / 41
        smaller = float(row["one.percentile"]) * 40 / 100
        assert smaller == pytest.approx(round(smaller))
        assert float(row["one.p_value"]) == pytest.approx((41 - smaller) / 41)
    with pysam.VariantFile(str(out)) as vcf:
        assert vcf.header.info["CT_one_PCT"].type == vcf.header.info["CT_one_P"].type == "Float"
        found = [p for record in vcf for p in record.info.get("CT_one_P", ()) if p is not None]
    assert found == pytest.approx([float(row["one.p_value"]) for row in rows], rel=6e-6)
    null = next(line for line in out.read_text().split("\n") if line.startswith("##chromtransferNull="))
    assert null.startswith("##chromtransferNull=kind genome, size 40, seed 3")


def test_figures_explain_the_largest_effects(world, tmp_path):  # noqa: F811
    figures, out = tmp_path / "figures", tmp_path / "o.tsv"
    result = command(world, out, "--null", "none", "--figures", figures, "--top", "1")
    assert result.exit_code == 0, result.output
    rows = [row for row in read_tsv(out) if row["status"] == "scored"]
    largest = max(rows, key=lambda row: abs(float(row["one.log_odds"])))
    (drawn,) = (figures / "figures").glob("*.png")
    assert drawn.name == f"001_{largest['chrom']}_{largest['pos']}.png"
    assert str(figures / "index.html") in result.stderr


def test_a_folder_that_figures_would_replace_is_refused_at_once(world, tmp_path, monkeypatch):  # noqa: F811
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    monkeypatch.setattr(run, "Scorer", None)  # nothing is scored
    result = command(world, tmp_path / "o.tsv", "--null", "none", "--figures", tmp_path / "mine")
    assert result.exit_code == 1
    assert "mine: holds other files" in result.stderr


# --- the real VCF ------------------------------------------------------------------------------------------------


@pytest.mark.real_data
def test_the_real_vcf_runs_through(tmp_path):
    folder = real_data_folder()
    vcf, fasta = folder / "vcf" / "NA12878_hg38_chr21.vcf.gz", folder / "hg38_partial.fa.gz"
    out = tmp_path / "o.vcf.gz"
    result = score_variants(
        vcf, [out, tmp_path / "o.tsv"], genome=fasta, models="pretrained", null="none", device="cpu"
    )
    genome = Genome(fasta)
    expected: Counter[str] = Counter()
    lines = [line for line in gzip.decompress(vcf.read_bytes()).decode().splitlines() if line[0] != "#"]
    for line in lines:
        chrom, pos, _, ref, alts = line.split("\t")[:5]
        for alt in alts.split(","):
            expected[status_by_hand(genome, chrom, int(pos), ref, alt)] += 1
    assert result.counts == expected
    assert expected["scored"] > 4000
    assert sum(expected.values()) > len(lines) == 65_370
    given = {key_of(line): "\t".join(line.split("\t")[:7]) for line in lines}
    with pysam.VariantFile(str(out)) as found:
        copy = tmp_path / "copy.vcf"
        with pysam.VariantFile(str(copy), "w", header=found.header) as written:
            n = 0
            for record in found:
                n += 1
                line = str(record)
                assert "\t".join(line.split("\t")[:7]) == given[key_of(line)]
                written.write(record)
    assert n == len(lines)
    ours = [
        line for line in gzip.decompress(out.read_bytes()).decode().split("\n") if line and line[0] != "#"
    ]
    assert [line for line in copy.read_text().split("\n") if line and line[0] != "#"] == ours
    if shutil.which("bcftools"):
        shown = subprocess.run(["bcftools", "view", "-H", out], capture_output=True, text=True, check=True)
        assert shown.stderr == ""
        assert shown.stdout.splitlines() == ours


def status_by_hand(genome: Genome, chrom: str, pos: int, ref: str, alt: str) -> str:
    if not re.fullmatch("[ACGT]+", ref + alt):
        return {".": "no_alt", "*": "star"}.get(alt, "symbolic" if "<" in alt else "letters")
    if chrom not in genome.contigs:
        return "contig"
    there = genome.sequence(chrom, pos - 1, pos - 1 + len(ref))
    return "unknown_base" if "N" in there else "scored" if there == ref else "mismatch"


def key_of(line: str) -> tuple[str, ...]:
    chrom, pos, _, ref, alt = line.split("\t")[:5]
    return chrom, pos, ref, alt
