"""Selene's analysis with checked weights, the device you asked for, and our treatment of N."""

from __future__ import annotations

import os
import re
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyfaidx
import selene_sdk.predict.model_predict
import selene_sdk.sequences
import torch

from chromtransfer_plugin.constants import WINDOW
from chromtransfer_plugin.errors import ChromTransferError, keyword_names, reject_unknown, require_integers
from chromtransfer_plugin.fasta import read_fasta
from chromtransfer_plugin.fasta_open import check_fasta
from chromtransfer_plugin.files import make_folder
from chromtransfer_plugin.friendly import ChromTransferWarning
from chromtransfer_plugin.selene import variants
from chromtransfer_plugin.selene.predictor import GIVEN_BY_SELENE, Predictor, check_model, use_cuda_of


class Genome(selene_sdk.sequences.Genome):
    """Selene's genome with unknown bases as all-zero rows, as in training; Selene writes 0.25 four times.

    Parameters
    ----------
    input_path : str
        FASTA, plain or bgzip.

    Raises
    ------
    ChromTransferError
        If the file cannot be used; at the first sequence, when Selene opens it.
    """

    def _unpicklable_init(self) -> None:
        """Open the file, once in each process; see Selene."""
        if self._initialized:
            return
        path = Path(str(self.input_path))
        check_fasta(path, "a genome FASTA (plain or bgzip)", plain_gzip=False)
        try:
            super()._unpicklable_init()
        except (OSError, ValueError, pyfaidx.FastaIndexingError) as error:
            raise ChromTransferError(
                f"{path}: cannot be read or indexed by pyfaidx, which keeps its index beside it: {error}"
            ) from error

    def get_encoding_from_coords(self, *args: Any, **kwargs: Any) -> np.ndarray:
        """(L, 4) one-hot; see Selene."""
        return _unknown_to_zero(super().get_encoding_from_coords(*args, **kwargs))

    def get_encoding_from_coords_check_unk(self, *args: Any, **kwargs: Any) -> tuple[np.ndarray, bool]:
        """(L, 4) one-hot, and whether it has an unknown base; see Selene."""
        encoding, unknown = super().get_encoding_from_coords_check_unk(*args, **kwargs)
        return _unknown_to_zero(encoding), unknown

    @classmethod
    def sequence_to_encoding(cls, sequence: str) -> np.ndarray:
        """Text of L letters -> (L, 4) one-hot."""
        return _unknown_to_zero(super().sequence_to_encoding(sequence))


def _unknown_to_zero(encoding: np.ndarray) -> np.ndarray:
    return np.where(encoding == 1, encoding, 0)


_SAVE_DATA = ("predictions", "diffs", "abs_diffs", "logits")
_ISM_INPUTS = {"sequence", "input_path", "fa_files"}  # Selene takes the first of them that it finds


class AnalyzeSequences(selene_sdk.predict.model_predict.AnalyzeSequences):
    """Selene's analyses (predictions, in-silico mutagenesis, variants) with one of our checkpoints.

    Parameters
    ----------
    trained_model_path : str
        Our checkpoint folder, or the name of a model of the zoo; of an ensemble, the model's ``class_args`` are those
        of one member.
    sequence_length : int
        bp.
    features : list of str
        Default: the output names in the checkpoint's card.
    reference_sequence : Genome
        ``!obj:chromtransfer_plugin.selene.Genome {input_path: ...}``.
    batch_size : int
    device : {"auto", "cpu", "cuda", "cuda:N"}

    Notes
    -----
    Selene 0.6 scores every deletion on a shifted sequence; see docs/selene.md.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        trained_model_path: str = "",
        sequence_length: int = WINDOW,
        features: list[str] | None = None,
        reference_sequence: Genome | None = None,
        batch_size: int = 64,
        device: str = "auto",
        write_mem_limit: int = 1500,
        **unknown: Any,
    ) -> None:
        where = "analyze_sequences AnalyzeSequences"
        reject_unknown(where, unknown, keyword_names(AnalyzeSequences, GIVEN_BY_SELENE))
        check_model(where, model)
        if not trained_model_path or reference_sequence is None:
            raise ChromTransferError(f"{where}: `trained_model_path` and `reference_sequence` are required.")
        if not isinstance(reference_sequence, Genome):
            raise ChromTransferError(
                f"{where}: `reference_sequence` must be a chromtransfer_plugin.selene.Genome: other genomes encode "
                "unknown bases differently than in training."
            )
        self._vcfs: dict[Path, Path] = {}  # what results begin with, and what they are of
        predictor = Predictor(trained_model_path, model)  # type: ignore[arg-type]
        with predictor.selene_weights() as weights:
            super().__init__(
                predictor,
                weights,
                sequence_length,
                features or predictor.card.outputs,
                batch_size=batch_size,
                use_cuda=use_cuda_of(device),
                reference_sequence=reference_sequence,
                write_mem_limit=write_mem_limit,
            )

    def get_predictions(
        self,
        input_path: str = "",
        output_dir: str | None = None,
        output_format: str = "tsv",
        strand_index: int | None = None,
        **unknown: Any,
    ) -> Any:
        """Predict a BED or FASTA file, or the sequence itself if there is no ``output_dir`` (see Selene).

        Creates the output folder, which Selene expects to exist.
        """
        reject_unknown("prediction", unknown, keyword_names(self.get_predictions))
        _check_format("prediction", output_format)
        if output_dir is not None:
            if not os.path.isfile(input_path):
                raise ChromTransferError(
                    f"{input_path}: no such BED or FASTA file (`prediction: input_path`)."
                )
            make_folder(Path(output_dir))
        return super().get_predictions(input_path, output_dir, output_format, strand_index)

    def _get_sequences_from_bed_file(self, input_path: str, *args: Any, **kwargs: Any) -> tuple[list, list]:
        """Read a BED file as Selene does, but say what it leaves out."""
        try:
            sequences, labels = super()._get_sequences_from_bed_file(input_path, *args, **kwargs)
        except UnicodeDecodeError as error:
            raise ChromTransferError(
                f"{input_path}: not text; Selene reads plain BED files: unpack it."
            ) from error
        with open(input_path) as lines:
            dropped = sum(1 for _ in lines) - len(labels)
        if not labels:
            raise ChromTransferError(
                f"{input_path}: none of its {dropped} lines is a window (chrom, start, end separated by tabs) on "
                f"{self.reference_sequence.input_path}."
            )
        if dropped:
            warnings.warn(
                f"{input_path}: {dropped} lines are not windows of the genome and are left out; see the .NA file.",
                ChromTransferWarning,
                stacklevel=2,
            )
        return sequences, labels

    def variant_effect_prediction(
        self,
        vcf_file: str = "",
        save_data: list[str] | None = None,
        output_dir: str | None = None,
        output_format: str = "tsv",
        strand_index: int | None = None,
        require_strand: bool = False,
        **unknown: Any,
    ) -> None:
        """Score the variants of a VCF (see Selene), which may be gzip or bgzip too.

        Alleles that Selene would score as something else are added to the ``.NA`` file of those that it drops itself;
        one warning counts both, another one the deletions, which Selene 0.6 gets wrong.
        """
        where = "variant_effect_prediction"
        known = keyword_names(self.variant_effect_prediction, {"vcf_file"}) | {"vcf_files"}
        reject_unknown(where, unknown, known)
        self._check_output(where, save_data, output_format)
        require_integers(where, strand_index=strand_index)
        source = Path(vcf_file).expanduser()
        if not source.is_file():
            raise ChromTransferError(
                f"{vcf_file}: no such file; `vcf_files` of {where} is a list: [FILE.vcf, ...]."
            )
        folder = Path(source.parent if output_dir is None else output_dir)
        prefix = variants.prefix_of(source)
        if self._vcfs.setdefault(folder / prefix, source) != source:
            raise ChromTransferError(
                f"{where}: {source} would replace the results of {self._vcfs[folder / prefix]}. Rename one of the files."
            )
        radii = (self._start_radius, self._end_radius)
        with tempfile.TemporaryDirectory() as temporary:
            plain = Path(temporary) / f"{prefix}.vcf"
            prepared = variants.prepare_vcf(
                source, plain, self.reference_sequence, radii, strand_index, require_strand
            )
            make_folder(folder)
            with variants.summed_up(source):
                super().variant_effect_prediction(
                    str(plain), save_data, str(folder), output_format, strand_index, require_strand
                )
        dropped = folder / f"{prefix}.NA"
        with dropped.open("a", encoding="utf-8") as out:
            out.writelines(f"{line}\n" for line in prepared.left_out)
        variants.warn_of(source, prepared, dropped)

    def in_silico_mutagenesis(
        self,
        sequence: str = "",
        save_data: list[str] | None = None,
        output_path_prefix: str = "ism",
        mutate_n_bases: int = 1,
        output_format: str = "tsv",
        start_position: int = 0,
        end_position: int | None = None,
        **unknown: Any,
    ) -> None:
        """Score every substitution of one sequence (see Selene)."""
        where = "in_silico_mutagenesis"
        _reject_unknown_ism(unknown, keyword_names(self.in_silico_mutagenesis))
        self._check_output(where, save_data, output_format)
        self._check_range(where, start_position, end_position, mutate_n_bases)
        if mutate_n_bases != 1:
            raise ChromTransferError(
                f"{where}: Selene ignores `mutate_n_bases` for a `sequence`: put it into a FASTA file and name that as "
                "`input_path`."
            )
        if not re.fullmatch("[ACGTN]+", str(sequence), re.IGNORECASE):
            raise ChromTransferError(f"{where}: `sequence` is no DNA: expected the letters A, C, G, T and N.")
        if len(sequence) != self.sequence_length:
            self._warn_length(where, f"`sequence` has {len(sequence)} bp")
        make_folder(Path(output_path_prefix).parent)
        super().in_silico_mutagenesis(
            sequence, save_data, output_path_prefix, 1, output_format, start_position, end_position
        )

    def in_silico_mutagenesis_from_file(
        self,
        input_path: str = "",
        save_data: list[str] | None = None,
        output_dir: str = "",
        mutate_n_bases: int = 1,
        use_sequence_name: bool = True,
        output_format: str = "tsv",
        start_position: int = 0,
        end_position: int | None = None,
        **unknown: Any,
    ) -> None:
        """Score every substitution of each sequence of a FASTA (see Selene), which may be gzip or bgzip too."""
        where = "in_silico_mutagenesis"
        _reject_unknown_ism(unknown, keyword_names(self.in_silico_mutagenesis_from_file))
        self._check_output(where, save_data, output_format)
        self._check_range(where, start_position, end_position, mutate_n_bases)
        if not output_dir:
            raise ChromTransferError(f"{where}: `output_dir` is required.")
        with tempfile.TemporaryDirectory() as temporary:
            plain = os.path.join(temporary, "sequences.fa")
            other = _write_fasta(where, input_path, plain, use_sequence_name, self.sequence_length)
            if other:
                self._warn_length(where, f"{input_path}: {other} sequences have another length")
            make_folder(Path(output_dir))
            super().in_silico_mutagenesis_from_file(
                plain,
                save_data,
                output_dir,
                mutate_n_bases,
                use_sequence_name,
                output_format,
                start_position,
                end_position,
            )

    def _check_output(self, where: str, save_data: Any, output_format: str) -> None:
        _check_format(where, output_format)
        if not isinstance(save_data, list) or not save_data or set(map(str, save_data)) - set(_SAVE_DATA):
            raise ChromTransferError(
                f"{where}: save_data={save_data!r} is not usable: expected a list of {', '.join(_SAVE_DATA)}."
            )
        if "logits" in save_data and not self.model.probabilities:
            raise ChromTransferError(
                f"{where}: `logits` in save_data needs `class: ChromTransferProbability`; with ChromTransfer, the "
                "differences of logits are the `diffs`."
            )

    def _check_range(self, where: str, start: Any, end: Any, mutate_n_bases: Any) -> None:
        require_integers(where, start_position=start, end_position=end, mutate_n_bases=mutate_n_bases)
        last = self.sequence_length if end is None else end
        if start is None or not mutate_n_bases or not start + mutate_n_bases <= last <= self.sequence_length:
            raise ChromTransferError(
                f"{where}: start_position={start}, end_position={end} and mutate_n_bases={mutate_n_bases} do not fit: "
                f"expected positions from 0 to {self.sequence_length} with at least mutate_n_bases between them."
            )

    def _warn_length(self, where: str, what: str) -> None:
        warnings.warn(
            f"{where}: {what}, not {self.sequence_length} bp: Selene cuts to the middle, or fills up with N on both "
            "sides. Positions count from the first base of the result.",
            ChromTransferWarning,
            stacklevel=3,
        )


def _reject_unknown_ism(unknown: dict[str, Any], known: set[str]) -> None:
    where = "in_silico_mutagenesis"
    if _ISM_INPUTS & set(unknown):
        raise ChromTransferError(f"{where}: give only one of {', '.join(sorted(_ISM_INPUTS))}.")
    reject_unknown(where, unknown, known | _ISM_INPUTS)


def _check_format(where: str, output_format: str) -> None:
    if output_format not in ("tsv", "hdf5"):
        raise ChromTransferError(f"{where}: output_format '{output_format}' is unknown: use tsv or hdf5.")


def _write_fasta(where: str, path: str, target: str, by_name: bool, length: int) -> int:
    """Copy a FASTA as plain text, with names that can be those of files; return how many have another length."""
    seen: set[str] = set()
    other = 0
    with open(target, "w", encoding="utf-8") as out:
        for number, record in enumerate(read_fasta(path)):
            name = record.id if by_name else str(number)
            if name in seen or "/" in name:
                raise ChromTransferError(
                    f"{path}: record '{name}' (line {record.line}) cannot name output files: it "
                    f"{'occurs twice' if name in seen else 'has a slash'}. Set `use_sequence_name: False` in {where}."
                )
            seen.add(name)
            other += len(record.sequence) != length
            out.write(f">{name}\n{record.sequence.decode()}\n")
    return other
