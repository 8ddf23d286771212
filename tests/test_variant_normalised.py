"""norm_pos, norm_ref and norm_alt: by trying every way of writing a variant, and as `bcftools norm` has them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from vcf_cases import changed, padded, placements, random_variants, repetitive, write_genome, write_vcf

from chromtransfer_plugin.variants.records import VariantSource
from chromtransfer_plugin.variants.table import _normalised

BCFTOOLS = shutil.which("bcftools")
Written = tuple[int, str, str]  # POS, REF, ALT


def make_rows(text: str) -> list[Written]:
    """Variants in repeats, with up to 5 bases more than they need on either side, and some at both ends of the contig."""
    rng = np.random.default_rng(4)
    rows = [
        padded(text, *variant, int(rng.integers(1, 6)), int(rng.integers(0, 6)))
        for variant in random_variants(rng, text, 300, 10)
    ]
    end = len(text)
    rows += [(1, text[: k + 1], text[k]) for k in (1, 3, 8)]
    rows += [(1, text[0], insert + text[0]) for insert in ("A", "CCG", text[:4])]
    rows += [(end - k, text[end - k - 1 :], text[end - k - 1]) for k in (1, 3, 8)]
    rows += [(end, text[-1], text[-1] + insert) for insert in ("A", "CCG", text[-4:])]
    return rows


def by_trying(text: str, row: Written) -> Written:
    """The leftmost of the shortest ways of writing a variant."""
    pos, ref, alt = row
    wanted = changed(text, pos - 1, ref, alt)
    while len(ref) > 1 and len(alt) > 1 and ref[-1] == alt[-1]:
        ref, alt = ref[:-1], alt[:-1]
    while len(ref) > 1 and len(alt) > 1 and ref[0] == alt[0]:
        pos, ref, alt = pos + 1, ref[1:], alt[1:]
    if len(ref) == len(alt) or min(len(ref), len(alt)) > 1 or not (ref[0] == alt[0] or ref[-1] == alt[-1]):
        return pos, ref, alt
    size = abs(len(ref) - len(alt))
    deleted = len(ref) > len(alt)
    start = min(placements(text, "x" * size if deleted else "", "" if deleted else "x" * size, wanted))
    first = max(start - 1, 0)  # at the very beginning the base behind it is written as well
    if deleted:
        ref = text[first : first + size + 1]
        return first + 1, ref, ref[-1] if start == 0 else ref[0]
    return first + 1, text[first], wanted[first : first + size + 1]


@pytest.fixture(scope="module")
def normalised(tmp_path_factory) -> tuple[str, Path, Path, list[Written], list[Written]]:
    """Text of a contig, its FASTA, a VCF, what that holds, and what we make of it."""
    folder = tmp_path_factory.mktemp("normalised")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHROMTRANSFER_CACHE", str(folder / "cache"))
        text = repetitive(np.random.default_rng(3), 1_500)
        genome = write_genome(folder / "g.fa", chr1=text)
        rows = make_rows(text)
        vcf = write_vcf(folder / "v.vcf", rows)
        (block,) = VariantSource(vcf, genome, 8).blocks()
        scored = (block.table["status"] == 0).to_numpy()
        assert scored.all()
        pos, ref, alt = _normalised(block.table, genome, scored)
        return text, genome.path, vcf, rows, list(zip(pos.tolist(), ref, alt, strict=True))


def test_every_variant_has_the_form_found_by_trying(normalised):
    text, _, _, rows, found = normalised
    expected = [by_trying(text, row) for row in rows]
    assert sum(row != form for row, form in zip(rows, expected, strict=True)) > 250
    assert found == expected
    for row, form in zip(rows, found, strict=True):
        assert changed(text, form[0] - 1, *form[1:]) == changed(text, row[0] - 1, *row[1:])


@pytest.mark.skipif(not BCFTOOLS, reason="needs bcftools")
def test_bcftools_norm_finds_the_same(normalised):
    _, fasta, vcf, rows, found = normalised
    lines = vcf.read_text().split("\n")
    first = len(lines) - 1 - len(rows)
    numbered = [line.replace("\t.", f"\tv{n}", 1) for n, line in enumerate(lines[first:-1])]
    numbered_vcf = vcf.with_name("numbered.vcf")
    numbered_vcf.write_text("\n".join([*lines[:first], *numbered, ""]))
    result = subprocess.run(
        [str(BCFTOOLS), "norm", "-f", str(fasta), str(numbered_vcf)],
        capture_output=True,
        text=True,
        check=True,
    )
    theirs = {}
    for line in result.stdout.splitlines():
        if not line.startswith("#"):
            _, pos, name, ref, alt = line.split("\t")[:5]
            theirs[int(name[1:])] = (int(pos), ref, alt)
    assert [theirs[n] for n in range(len(rows))] == found
