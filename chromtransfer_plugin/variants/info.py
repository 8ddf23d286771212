"""The scores as INFO fields of a VCF: their names, their header lines and their text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.variants.statuses import FLAG_NAMES, STATUSES
from chromtransfer_plugin.variants.table import Measure, Results

if TYPE_CHECKING:
    import pyarrow as pa

PREFIX = "CT_"
STATUS, FLAGS = f"{PREFIX}STATUS", f"{PREFIX}FLAGS"
SOURCE = "chromtransfer"  # in our header lines: tells them from those of others
DIGITS = 6
_META = re.compile(rf"##{SOURCE}[A-Z]\w*=")
_PLAIN = 1e-4, 1e5  # sizes that %g writes without an exponent, also when rounded
_ID = re.compile(r"##(INFO|contig)=<(?:.*?,)?ID=([^,>]+)")


class Field(NamedTuple):
    """An INFO field: its ID, and the column and measure that it holds."""

    id: str
    column: int
    measure: Measure


def fields_of(columns: Sequence[str], measures: Sequence[Measure]) -> list[Field]:
    """Name a field for each column and measure.

    Raises
    ------
    ChromTransferError
        If two columns differ only in characters that an ID of INFO cannot have.
    """
    names: dict[str, str] = {}
    for column in columns:
        name = re.sub("[^A-Za-z0-9_]", "_", column)
        if name in names:
            raise ChromTransferError(
                f"--model: '{names[name]}' and '{column}' are both called {PREFIX}{name} in a VCF, whose names have only "
                "letters A-Z, digits and _. Give one another name: --model NAME=FOLDER."
            )
        names[name] = column
    return [
        Field(f"{PREFIX}{name}_{measure.field}", number, measure)
        for number, name in enumerate(names)
        for measure in measures
    ]


class Header(NamedTuple):
    """The header of the output, its contigs in order, and the INFO fields that are replaced."""

    lines: list[str]
    contigs: list[str]
    replaced: frozenset[str]


def make_header(
    given: Sequence[str],
    used: Sequence[str],
    genome: Mapping[str, int],
    fields: Sequence[Field],
    columns: Sequence[str],
    facts: Mapping[str, Any],
) -> Header:
    """Add our lines to a header, in place of those of an earlier run.

    Parameters
    ----------
    given : sequence of str
        The input's header; the last line is ``#CHROM...``.
    used : sequence of str
        Contigs of its records, in the order in which they come.
    genome : mapping
        Contigs of the genome and their lengths.
    fields : sequence of Field
    columns : sequence of str
    facts : mapping
        Of :func:`~chromtransfer_plugin.variants.plan.facts_of`.
    """
    own = {STATUS, FLAGS, *(field.id for field in fields)}
    replaced, contigs, kept = set(own), [], []
    for line in given[:-1]:
        found = _ID.match(line)
        kind, name = found.groups() if found else ("", "")
        ours = f'Source="{SOURCE}"' in line and name.startswith(PREFIX)
        if kind == "INFO" and (name in own or ours):
            replaced.add(name)
        elif not _META.match(line):
            kept.append(line)
        if kind == "contig":
            contigs.append(name)
    # Records may name a contig that the header does not; then bcftools would refuse the file.
    wanted = dict.fromkeys([*(genome if not contigs else ()), *used])
    new = [name for name in wanted if name not in set(contigs)]
    for name in new:
        length = f",length={genome[name]}" if name in genome else ""
        kept.append(f"##contig=<ID={name}{length}>")
    lines = [*kept, *_info_lines(fields, columns, facts), *_meta_lines(facts), given[-1]]
    return Header(lines, contigs + new, frozenset(replaced))


def _info_lines(fields: Sequence[Field], columns: Sequence[str], facts: Mapping[str, Any]) -> list[str]:
    window = f"{facts['window']} bp window"

    def line(name: str, kind: str, text: str) -> str:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
        return (
            f'##INFO=<ID={name},Number=A,Type={kind},Description="{text}",Source="{SOURCE}",'
            f'Version="{facts["version"]}">'
        )

    flags = "|".join(FLAG_NAMES.values())
    return [
        line(
            STATUS,
            "String",
            f"What became of the allele: {', '.join(STATUSES)}; a record without ALT has one value",
        ),
        line(FLAGS, "String", f"Remarks on the score, joined by |: {flags}; . if none"),
        *(
            line(
                field.id,
                "Integer" if field.measure.is_integer else "Float",
                f"{columns[field.column]}: {field.measure.meaning}, {window}",
            )
            for field in fields
        ),
    ]


def _meta_lines(facts: Mapping[str, Any]) -> list[str]:
    """Say how the scores were computed; the same run gives the same lines."""
    lines = [f"##{SOURCE}Version={facts['version']}"]
    for model in facts["models"]:
        members = [f'"{member["name"]}" sha256:{member["weights_sha256"]}' for member in model["members"]]
        mean = "" if len(members) == 1 else f'"{model["name"]}" is the mean of '
        lines.append(f"##{SOURCE}Model={mean}{', '.join(members)}")
    texts = {
        "Genome": facts["genome"],
        "Window": facts["window"],
        "Strand": facts["strand"],
        "Shifts": ",".join(map(str, facts["shifts"])),
        "Edges": facts["edges"],
        "Swap": "yes" if facts["swap"] else "no",
        "Null": _listed(facts["null"]),
    }
    return lines + [f"##{SOURCE}{name}={text}" for name, text in texts.items()]


def _listed(facts: Mapping[str, Any] | None) -> str:
    if facts is None:
        return "none"
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in facts.items() if value is not None)


def with_info(line: str, own: str, replaced: frozenset[str]) -> str:
    """Append our part to the INFO of a record; earlier values of our fields go."""
    parts = line.split("\t", 8)
    info = parts[7]
    if PREFIX in info:
        info = ";".join(item for item in info.split(";") if item.partition("=")[0] not in replaced)
    before = "" if info in (".", "") else info.removesuffix(";") + ";"
    parts[7] = before + own
    return "\t".join(parts)


def info_texts(results: Results, fields: Sequence[Field]) -> list[str]:
    """Give our part of the INFO of each record: numbers only if one of its alleles is scored."""
    import pyarrow as pa
    import pyarrow.compute as pc

    record = results.block.table["record"].to_numpy()
    ends = np.searchsorted(record, np.arange(len(results.block.lines) + 1))
    any_scored = np.add.reduceat(results.scored, ends[:-1]) > 0 if len(record) else np.zeros(0, dtype=bool)

    def of_records(texts: pa.Array) -> pa.Array:
        return pc.binary_join(pa.ListArray.from_arrays(pa.array(ends, pa.int32()), texts), ",")

    pieces: list[Any] = [f"{STATUS}=", of_records(pa.array(results.statuses, pa.string()))]
    pieces += [f";{FLAGS}=", of_records(pa.array(results.flags, pa.string()))]
    short = pc.binary_join_element_wise(*pieces, "")
    for field in fields:
        values = results.numbers(field.measure)[:, field.column]
        texts = number_texts(values, results.scored)
        pieces += [f";{field.id}=", of_records(texts)]
    full = pc.binary_join_element_wise(*pieces, "")
    return pc.if_else(pa.array(any_scored), full, short).to_pylist()


def number_texts(values: NDArray[Any], there: NDArray[np.bool_]) -> pa.Array:
    """Write numbers with six significant digits as htslib does (``%g``), "." where ``there`` is not."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if values.dtype.kind != "f":
        return pc.if_else(pa.array(there), pc.cast(pa.array(values), pa.string()), ".")
    there = there & np.isfinite(values)
    wide = np.where(there, values, 0).astype(np.float64)
    size = np.abs(wide)
    # Without an exponent the text of the nearest float64 number has six digits, and arrow writes it fast.
    is_plain = (size == 0) | ((size >= _PLAIN[0]) & (size < _PLAIN[1]))
    scale = 10.0 ** (DIGITS - 1 - np.floor(np.log10(np.where(is_plain & (size > 0), size, 1))))
    texts = pc.cast(pa.array(np.round(wide * scale) / scale), pa.string())
    others = [f"{number:.{DIGITS}g}" for number in wide[~is_plain].tolist()]
    texts = pc.replace_with_mask(texts, pa.array(~is_plain), pa.array(others, pa.string()))
    return pc.if_else(pa.array(there), texts, ".")
