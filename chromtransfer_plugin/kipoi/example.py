"""The example files of an exported model: a tiny genome, intervals on it, and the predictions to expect."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.onehot import decode, encode, one_hot
from chromtransfer_plugin.predict import predict_logits, probabilities
from chromtransfer_plugin.regions import read_regions

if TYPE_CHECKING:
    import h5py

    from chromtransfer_plugin.checkpoint import Card, Network

FASTA = "genome.fa"
INTERVALS = "intervals.bed"
N_WINDOWS = 8
FLANK = 20  # bp of sequence on both sides of each window
N_RUN = 25  # unknown bases put into the first window
_INTERVAL = 200  # bp, at most; shorter than the window, so that the dataloader has to resize
_LINE = 60
_MOST = 64_000_000  # numbers in an expectation
TOLERANCE = 1e-5  # of probabilities; float32 sums differ by about 1e-7 between machines


def write_example(
    folder: Path, window: int, genome: str | Path | None, intervals: str | Path | None, seed: int
) -> NDArray[np.uint8]:
    """Write ``genome.fa``, one contig for each window, and ``intervals.bed`` to ``folder``.

    The first third of each contig is lower-case and the first window has a run of N, whatever the source. All names
    begin with ``chr``, which kipoiseq puts before those that do not, in the intervals only.

    Returns
    -------
    ndarray of uint8, shape (n, length)
        Codes of the contigs. The intervals stand for the windows at their :func:`centres`, of any width.
    """
    length = window + 2 * FLANK
    names, codes = _contigs(length, genome, intervals, np.random.default_rng(seed))
    names = [name if name.startswith("chr") else f"chr_{name}" for name in names]
    lower = length // 3
    codes[0, lower - N_RUN // 2 :][:N_RUN] = 4  # some of it lower-case
    half = max(1, min(_INTERVAL, window) // 2)
    middle = length // 2
    folder.mkdir()
    fasta, bed = folder / FASTA, folder / INTERVALS
    with fasta.open("w", encoding="ascii", newline="\n") as out:
        for name, row in zip(names, codes, strict=True):
            text = decode(row)
            text = text[:lower].lower() + text[lower:]
            lines = [text[i : i + _LINE] for i in range(0, length, _LINE)]
            out.write(f">{name}\n" + "\n".join(lines) + "\n")
    with bed.open("w", encoding="ascii", newline="\n") as out:
        for number, name in enumerate(names, start=1):
            strand = "+-."[number % 3]
            out.write(f"{name}\t{middle - half}\t{middle + half}\twindow{number}\t0\t{strand}\n")
    return codes


def read_example(folder: Path) -> NDArray[np.uint8]:
    """Read back what :func:`write_example` returned.

    Raises
    ------
    ChromTransferError
        If the files are missing or not of that form.
    """
    path = folder / FASTA
    try:
        records = path.read_text(encoding="ascii").split(">")[1:]
    except (OSError, UnicodeDecodeError) as error:
        raise ChromTransferError(f"{path}: the example genome cannot be read ({error}).") from error
    rows = [encode("".join(record.split("\n")[1:])) for record in records]
    if not rows or len({len(row) for row in rows}) != 1 or not (folder / INTERVALS).is_file():
        raise ChromTransferError(
            f"{folder}: expected {FASTA} with contigs of one length, and {INTERVALS}. Delete the folder; both are "
            "written again with the next model."
        )
    return np.stack(rows)


def centres(codes: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    """Cut windows, shape (n, width), around the midpoints of contigs, as the intervals do."""
    start = codes.shape[1] // 2 - width // 2
    return codes[:, start : start + width]


def _contigs(
    length: int, genome: str | Path | None, intervals: str | Path | None, rng: np.random.Generator
) -> tuple[list[str], NDArray[np.uint8]]:
    """Give names and codes (N_WINDOWS or fewer, length) of the contigs of the example genome."""
    if genome is None:
        return [f"random{i}" for i in range(1, N_WINDOWS + 1)], rng.integers(
            0, 4, size=(N_WINDOWS, length), dtype=np.uint8
        )
    source = Genome(genome)
    if intervals is None:
        table = _random_places(source, length, rng)
    else:
        table = read_regions(intervals, source, length, label_column=0).table
        # Overlapping windows are fine, the same one twice would give one contig name twice.
        table = table.drop_duplicates(["chrom", "start"])
        table = table.iloc[np.unique(np.linspace(0, len(table) - 1, N_WINDOWS).astype(int))]
    names = [f"{chrom}_{start}_{start + length}" for chrom, start in table[["chrom", "start"]].to_numpy()]
    return names, source.extract(table["chrom"].to_numpy(), table["start"].to_numpy(), length)


def _random_places(genome: Genome, length: int, rng: np.random.Generator) -> pd.DataFrame:
    """Draw windows that hold known bases, each contig as likely as it is long."""
    names = np.array(list(genome.contigs))
    room = np.array([max(0, size - length + 1) for size in genome.contigs.values()])
    if not room.any():
        raise ChromTransferError(
            f"{genome.path}: no contig is long enough for an example window of {length} bp."
        )
    ends = np.cumsum(room)
    draws = rng.integers(0, ends[-1], size=50 * N_WINDOWS)
    contig = np.searchsorted(ends, draws, side="right")
    table = pd.DataFrame({"chrom": names[contig], "start": draws - (ends - room)[contig]}).drop_duplicates()
    starts = table["start"].to_numpy()
    known = ~genome.only_n(table["chrom"].to_numpy(), starts, starts + length)
    if not known.any():
        raise ChromTransferError(
            f"{genome.path}: no example window with known bases was found; name intervals."
        )
    return table[known].head(N_WINDOWS)


def write_expectation(path: Path, model: Network, card: Card, codes: NDArray[np.uint8]) -> None:
    """Write inputs and probabilities of the example windows in the HDF5 layout of ``kipoi test``.

    They are computed on the CPU and without the Kipoi classes, so ``kipoi test`` compares two ways to the
    same numbers.
    """
    import h5py

    preds = probabilities(predict_logits(model, codes, device="cpu"), card.activation)
    with h5py.File(path, "w") as out:
        out.create_dataset("inputs", data=one_hot(codes, "channels_first"), compression="gzip")
        out.create_dataset("preds", data=preds)


def read_expectation(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Read inputs (n, 4, width) and probabilities (n, n_outputs) as :func:`write_expectation` wrote them.

    Raises
    ------
    ChromTransferError
        If the file is missing, damaged or of another form.
    """
    import h5py

    try:
        with h5py.File(path) as file:
            inputs, preds = (_plain_numbers(file, key) for key in ("inputs", "preds"))
    except (OSError, KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise ChromTransferError(
            f"{path}: no readable HDF5 file with 'inputs' and 'preds' ({error})."
        ) from error
    if (
        inputs.ndim != 3
        or inputs.shape[1] != 4
        or preds.ndim != 2
        or len(inputs) != len(preds)
        or not len(preds)
    ):
        raise ChromTransferError(
            f"{path}: holds inputs {inputs.shape} and preds {preds.shape}, expected (n, 4, width) and (n, outputs)."
        )
    return inputs, preds


def _plain_numbers(file: h5py.File, key: str) -> NDArray[np.float32]:
    """Read an array of the file itself, if it is not out of all proportion."""
    import h5py

    data = file[key]
    if not isinstance(file.get(key, getlink=True), h5py.HardLink) or data.external or data.is_virtual:
        raise ValueError(f"'{key}' is kept elsewhere")
    if data.dtype.kind != "f" or data.size > _MOST:
        raise ValueError(f"'{key}' holds {data.size} values of {data.dtype}")
    return np.asarray(data[:], dtype=np.float32)


def check_expectation(path: Path, model: Network, card: Card) -> float:
    """Predict the inputs of an expectation on the CPU and compare.

    Returns
    -------
    float
        The largest difference between probabilities.

    Raises
    ------
    ChromTransferError
        If it is above :data:`TOLERANCE`, or the file does not fit the model.
    """
    inputs, expected = read_expectation(path)
    if expected.shape[1] != len(card.outputs):
        raise ChromTransferError(
            f"{path}: expects {expected.shape[1]} outputs, the model has {len(card.outputs)}."
        )
    if inputs.shape[2] != card.window:
        raise ChromTransferError(
            f"{path}: holds windows of {inputs.shape[2]} bp, the model is for {card.window} bp."
        )
    found = probabilities(predict_logits(model, inputs, device="cpu"), card.activation)
    difference = float(np.abs(found - expected).max())
    if not difference <= TOLERANCE:  # also NaN
        raise ChromTransferError(
            f"{path}: the model's probabilities differ from the expected ones by up to {difference:.3g}, more than "
            f"{TOLERANCE:g}: weights and expectation do not belong together."
        )
    return difference
