"""What the YAML file of ``chromtransfer dataset build`` may say."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from chromtransfer_plugin.constants import SEED, TEST_CHROMOSOMES, WINDOW
from chromtransfer_plugin.preparation import defaults
from chromtransfer_plugin.region_windows import Center

AUTOSOMES = "autosomes"
_LINE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
_MEANINGS = {"negative", "open", "closed", "shared", "background"}  # labels and kinds of region
_ENTRIES = {"pretraining", "regions.parquet", "dropped.tsv", "qc.png", "manifest.json"}  # of the folder


def _listed(value: object) -> object:
    return [value] if isinstance(value, str | int | float) else value


Files = Annotated[list[str], BeforeValidator(_listed), Field(min_length=1)]
Ratio = Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)]
Match = Literal["none", "gc", "dinucleotide"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Line(_Section):
    """How a cell line's open regions are known.

    Attributes
    ----------
    signal : list of str, optional
        bigWig of each replicate.
    peaks : list of str, optional
        BED or narrowPeak of each replicate.
    ratio : float, optional
        Negatives for each positive of this line, instead of ``negatives.ratio``.
    """

    signal: Files | None = None
    peaks: Files | None = None
    ratio: Ratio | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Line:
        if (self.signal is None) == (self.peaks is None):
            raise ValueError("expected either `signal` (bigWig files) or `peaks` (BED or narrowPeak files)")
        return self

    @property
    def files(self) -> list[str]:
        """The replicates' files."""
        return self.signal or self.peaks or []


class Calls(_Section):
    """When a region is open in a line: in at least one of its replicates.

    Attributes
    ----------
    threshold : float
        Of the z-score of log10 signal.
    strict : bool
        Above the threshold, not at it.
    statistic : {"mean", "max", "sum"}
        Of the signal at the bases; bases without data count 0.
    over : {"window", "region"}
        The bases: of the window, or of the region as its file gives it.
    min_overlap : int
        bp of the window (or region) that peaks must cover; all of it where it is shorter.
    missing_contigs : {"error", "closed", "drop"}
        What becomes of regions on a contig that a file has no data on.
    """

    threshold: float = Field(default=defaults.THRESHOLD, allow_inf_nan=False)
    strict: bool = defaults.STRICT
    statistic: Literal["mean", "max", "sum"] = "mean"
    over: Literal["window", "region"] = defaults.OVER
    min_overlap: int = Field(default=defaults.MIN_OVERLAP, ge=1)
    missing_contigs: Literal["error", "closed", "drop"] = "error"


class Negatives(_Section):
    """What a line's positives are told from.

    Attributes
    ----------
    ratio : float
        Negatives for each positive, ``Negative`` regions included.
    from_other_lines : float
        Share of the negatives, ``Negative`` aside, that are positives of other lines.
    match : {"none", "gc", "dinucleotide"}
        What the sequences of the negatives have in common with those of the positives.
    universal : int
        Number of ``Negative`` regions, the same in all lines.
    """

    ratio: Ratio = defaults.RATIO
    from_other_lines: float = Field(default=defaults.FROM_OTHER_LINES, ge=0, le=1)
    match: Match = "none"
    universal: int = Field(default=defaults.UNIVERSAL, ge=0)


class Pretraining(_Section):
    """The pre-training set: regions that are open in no line, against tiles of the genome.

    Attributes
    ----------
    blacklist, gaps : list of str, optional
        BED files that no tile may overlap.
    distance : int
        bp between a tile and any region, of whatever line.
    ratio : float, optional
        Tiles for each region. None: as many as regions, or all if there are fewer.
    max_regions : int, optional
        Draw so many of the regions.
    match : {"none", "gc", "dinucleotide"}
        What the sequences of the tiles have in common with those of the regions.
    """

    blacklist: Files | None = None
    gaps: Files | None = None
    distance: int = Field(default=defaults.DISTANCE, ge=0)
    ratio: Ratio | None = None
    max_regions: int | None = Field(default=None, ge=1)
    match: Match = "none"


class Split(_Section):
    """Which windows test, and the folds of the others.

    Attributes
    ----------
    test : list of str
        Chromosomes; may be empty.
    folds : int
    by : {"chromosome", "locus", "homology"}
        What no two folds share.
    """

    test: Annotated[list[str], BeforeValidator(_listed)] = list(TEST_CHROMOSOMES)
    folds: int = Field(default=defaults.FOLDS, ge=2)
    by: Literal["chromosome", "locus", "homology"] = "chromosome"


class DatasetConfig(_Section):
    """The whole file.

    Attributes
    ----------
    genome : str, optional
        FASTA.
    contigs : str, optional
        Names and lengths of the contigs (``chrom.sizes``, or a ``.fai``) where there is no FASTA.
    regions : list of str, optional
        BED, narrowPeak or CSV. Without, the peaks of the lines are clustered.
    width : int
        bp of a window.
    center : {"auto", "midpoint", "summit"}
        See :func:`chromtransfer_plugin.regions.read_regions`.
    chromosomes : list of str, optional
        Use these alone; ``autosomes`` stands for chr1 (or 1) and so on.
    lines : dict of str to Line
    calls, negatives, split : Calls, Negatives, Split
    pretraining : Pretraining, optional
        None: no pre-training set.
    seed : int
        Of everything that is drawn.
    """

    genome: str | None = None
    contigs: str | None = None
    regions: Files | None = None
    width: int = Field(default=WINDOW, ge=1)
    center: Center = "auto"
    chromosomes: Files | None = None
    lines: dict[str, Line] = Field(min_length=1)
    calls: Calls = Calls()
    negatives: Negatives = Negatives()
    pretraining: Pretraining | None = None
    split: Split = Split()
    seed: int = Field(default=SEED, ge=0, lt=2**63)

    @field_validator("lines")
    @classmethod
    def _usable_names(cls, lines: dict[str, Line]) -> dict[str, Line]:
        seen: dict[str, str] = {}
        for name in lines:
            taken = name.casefold() in _MEANINGS | _ENTRIES or name.endswith("_NEG")
            if taken or not _LINE_NAME.fullmatch(name):
                raise ValueError(
                    f"the line '{name[:120]}' cannot be called so: up to 100 letters, digits and ._+- name a line; names in "
                    f"_NEG and {', '.join(sorted(_MEANINGS | _ENTRIES))} have a meaning of their own"
                )
            if name.casefold() in seen:
                raise ValueError(
                    f"the lines '{seen[name.casefold()]}' and '{name}' differ in upper and lower case alone"
                )
            seen[name.casefold()] = name
        return lines

    @model_validator(mode="after")
    def _fits_together(self) -> DatasetConfig:
        if (self.genome is None) == (self.contigs is None):
            raise ValueError("expected either `genome` (FASTA) or `contigs` (chrom.sizes)")
        seen: dict[str, str] = {}
        for name, line in self.lines.items():
            for written in line.files:
                if written in seen:
                    raise ValueError(f"the file {written} is given twice, for {seen[written]} and for {name}")
                seen[written] = name
        if self.genome is None:
            self._refuse_without_sequence()
        if self.regions is None and not any(line.peaks for line in self.lines.values()):
            raise ValueError("expected `regions`, as no line has `peaks` to take regions from")
        return self

    def _refuse_without_sequence(self) -> None:
        matches = {"negatives": self.negatives.match}
        if self.pretraining is not None:
            matches["pretraining"] = self.pretraining.match
        wanted = [f"`{section}.match: {how}`" for section, how in matches.items() if how != "none"]
        if self.split.by == "homology":
            wanted.append("`split.by: homology`")
        if wanted:
            raise ValueError(
                f"{wanted[0]} needs the sequence: give `genome` (FASTA) instead of `contigs`, or remove it"
            )
