"""Which lines are records that htslib, and with it bcftools and pysam, reads as they are meant."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.variants.vcf_text import LONGEST_LINE, has_control, quiet_htslib, unreadable

_FIXED = ("CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO")
_RECORD = re.compile(r"[^\t#][^\t]*\t[0-9]{1,10}(?:\t[^\t]+){6}(?:\t|\Z)")
_UNREADABLE = "htslib cannot read the line; `bcftools view` of this file says why"
_LAST_POSITION = (1 << 31) - 1


class LineCheck:
    """Check lines against the header of their file.

    Parameters
    ----------
    path : Path
        The file, for messages.
    header : list of str

    Raises
    ------
    ChromTransferError
        If htslib cannot read the header.
    """

    def __init__(self, path: Path, header: list[str]) -> None:
        self._header = header
        self._columns = len(header[-1].split("\t"))
        try:
            with _opened(header, []):
                pass
        except (OSError, ValueError) as error:
            raise unreadable(path, error) from error

    def reasons(self, lines: list[str]) -> list[str]:
        """Say what is wrong with each of these lines; nothing for a record."""
        clean = not has_control("\n".join(lines))
        reasons = [self._reason(line, clean) for line in lines]
        good = [row for row, reason in enumerate(reasons) if not reason]
        while good:
            found = _as_htslib_reads(self._header, [lines[row] for row in good])
            bad = {row: reason for row, reason in zip(good, found, strict=True) if reason}
            if not bad:
                break
            for row, reason in bad.items():
                reasons[row] = reason
            # What htslib takes from a bad line, such as a new contig, must not be what makes another one good.
            good = [row for row in good if row not in bad]
        return reasons

    def _reason(self, line: str, clean: bool) -> str:
        match = _RECORD.match(line)
        if match is None:
            return _what_is_wrong(line)
        if not clean and has_control(line):
            return "the line has control characters"
        if len(line) > LONGEST_LINE:
            return f"the line has more than {LONGEST_LINE >> 20} MiB"
        columns = line.count("\t") + 1
        if self._columns > len(_FIXED) and columns != self._columns:
            return f"the line has {columns} columns, the header {self._columns}"
        return ""


def _what_is_wrong(line: str) -> str:
    """Say why a line has not the form of a record."""
    if not line:
        return "the line is blank"
    if line.startswith("#"):
        return "a line of a header among the records"
    fields = line.split("\t", len(_FIXED))
    if len(fields) < len(_FIXED):
        return f"the line has {len(fields)} columns, expected at least {len(_FIXED)} separated by tabs"
    empty = [name for name, field in zip(_FIXED, fields, strict=False) if not field]
    return f"{empty[0]} is empty" if empty else "POS is not a whole number of at most ten digits"


def _as_htslib_reads(header: list[str], lines: list[str]) -> list[str]:
    """Say of each line why htslib does not read it, or not as it is written."""
    reasons = []
    with _opened(header, lines) as file:
        for line in lines:
            try:
                record = next(file)  # behind a bad line it goes on with the next one
            except (OSError, ValueError, StopIteration):
                reasons.append(_UNREADABLE)  # what pysam says of it is not the cause
                continue
            chrom, pos, _, ref, alt, _ = line.split("\t", 5)
            if int(pos) > _LAST_POSITION:
                reasons.append(f"POS is beyond {_LAST_POSITION}, the last one of a VCF")
            elif "" in (alleles := tuple(alt.split(","))):
                reasons.append("ALT has an empty allele")
            elif (record.chrom, record.pos, record.ref) != (chrom, int(pos), ref) or (
                record.alts or (".",)
            ) != alleles:
                reasons.append("htslib reads another variant than is written")
            else:
                reasons.append("")
    return reasons


@contextlib.contextmanager
def _opened(header: list[str], lines: list[str]) -> Iterator[Any]:
    """Have htslib read a file of these lines."""
    import pysam

    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(tempfile.NamedTemporaryFile("wb", suffix=".vcf"))
            file.write("\n".join([*header, *lines, ""]).encode())
            file.flush()
        except OSError as error:
            raise ChromTransferError(
                f"cannot write a temporary file in {tempfile.gettempdir()} ({error.strerror}). Make room there, or name "
                "another folder: export TMPDIR=FOLDER."
            ) from error
        stack.enter_context(quiet_htslib())
        yield stack.enter_context(pysam.VariantFile(file.name))
