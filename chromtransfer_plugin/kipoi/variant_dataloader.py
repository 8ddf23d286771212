"""A dataloader class for both alleles of the variants of a VCF."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from kipoi.metadata import GenomicRanges
from numpy.typing import NDArray

from chromtransfer_plugin.constants import WINDOW
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.kipoi.window_dataset import (
    WindowDataset,
    absolute_path,
    check_width,
    text_array,
    warn_dropped,
)
from chromtransfer_plugin.onehot import one_hot
from chromtransfer_plugin.variants import Allele, allele_windows, read_variants, window_starts

_EXAMPLE = '{"vcf_file": "variants.vcf.gz", "fasta_file": "genome.fa"}'
_CHOICES: dict[str, tuple[Allele, ...]] = {"ref": ("ref",), "alt": ("alt",), "both": ("ref", "alt")}


class VariantDataloader(WindowDataset):
    """Windows around the variants of a VCF, with the reference or the alternative allele.

    Each ALT allele of each record is one variant, in file order; with ``allele="both"`` item ``2 * i`` is variant i
    with the reference allele and item ``2 * i + 1`` with the alternative one. An item is a dict with ``inputs``,
    float32 (4, width) one-hot, and ``metadata``: ``ranges``, the window of the reference allele (for both alleles;
    ``id`` is ``chrom:pos:ref:alt`` as in the VCF), ``allele`` ("ref" or "alt") and ``record``, the number of the
    record in the file, counted from 1. Batches hold the same stacked.

    How the windows lie is said in :mod:`chromtransfer_plugin.variants.windows`; these are the ones of the plus strand.
    Variants that cannot be scored (symbolic alleles, REF is not the genome's, window off the contig, ...) and lines that
    are no records are left out and listed on stderr with the reason.

    Parameters
    ----------
    vcf_file : path
        VCF (plain, bgzip or gzip) or BCF.
    fasta_file : path
        See :class:`~chromtransfer_plugin.genome.Genome`.
    allele : {"both", "ref", "alt"}
    width : int
        Window length in bp.

    Raises
    ------
    ChromTransferError
        If a file is missing or unusable, the contig names do not match, or no variant is left.
    """

    # Both files are required; with a default their absence reaches absolute_path, not a TypeError's traceback.
    def __init__(
        self,
        vcf_file: str | os.PathLike[str] | None = None,
        fasta_file: str | os.PathLike[str] | None = None,
        allele: str = "both",
        width: int = WINDOW,
    ) -> None:
        check_width(width)
        if not isinstance(allele, str) or allele not in _CHOICES:
            raise ChromTransferError(
                f"dataloader argument 'allele' is {allele!r}, expected one of {', '.join(_CHOICES)}."
            )
        vcf = absolute_path("vcf_file", vcf_file, _EXAMPLE)
        self._genome = Genome(absolute_path("fasta_file", fasta_file, _EXAMPLE))
        variants = read_variants(vcf, self._genome, width)
        warn_dropped(
            variants.report.summary(),
            [f"record {number}: {reason}: {text}" for number, text, reason in variants.report.dropped],
        )
        self._table, self._width, self._alleles = variants.table, width, _CHOICES[allele]
        self._n = len(self._table) * len(self._alleles)

    def batch(self, rows: slice | NDArray[np.int64]) -> dict[str, Any]:
        """Give several windows at once: ``inputs`` float32 (n, 4, width) and ``metadata``."""
        number, which = np.divmod(np.arange(self._n)[rows], len(self._alleles))
        table = self._table.iloc[number]
        codes = np.empty((len(number), self._width), dtype=np.uint8)
        for i, allele in enumerate(self._alleles):
            codes[which == i] = allele_windows(self._genome, table[which == i], allele, self._width)
        start = window_starts(table, "ref", self._width)
        ids = table["chrom"] + ":" + table["pos"].astype("str") + ":" + table["ref"] + ":" + table["alt"]
        return {
            "inputs": one_hot(codes, "channels_first"),
            "metadata": {
                "ranges": GenomicRanges(
                    chr=text_array(table["chrom"]),
                    start=start,
                    end=start + self._width,
                    id=text_array(ids),
                    strand=np.full(len(number), "*"),
                ),
                "allele": np.array(self._alleles)[which],
                "record": table["record"].to_numpy(),
            },
        }


VariantDataloader.describe(
    doc="One-hot encoded windows of both alleles of the variants of a VCF, in its order",
    args={
        "vcf_file": {"doc": "VCF (plain, bgzip or gzip) or BCF; samples are ignored", "type": "str"},
        "fasta_file": {
            "doc": "Genome the variants refer to; plain or bgzipped FASTA, no index needed",
            "type": "str",
        },
        "allele": {
            "doc": "ref, alt or both (the default; the reference first, then the alternative, of each variant)",
            "type": "str",
            "optional": True,
        },
        "width": {
            "doc": "Window length in bp, around the middle of the variant",
            "type": "int",
            "optional": True,
        },
    },
    metadata={
        "ranges": {
            "type": "GenomicRanges",
            "doc": "The window of the reference allele; id is chrom:pos:ref:alt as in the VCF",
        },
        "allele": {"type": "str", "doc": "ref or alt"},
        "record": {"type": "int", "doc": "Record of the VCF, counted from 1"},
    },
)
