"""Checking what was asked for, before anything is computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.prediction import plan as plans
from chromtransfer_plugin.prediction.dropped import SUFFIX as DROPPED
from chromtransfer_plugin.variants.models import Predictor
from chromtransfer_plugin.variants.null import KINDS
from chromtransfer_plugin.variants.records import Edges
from chromtransfer_plugin.variants.scorer import Settings
from chromtransfer_plugin.variants.windows import STRANDS

if TYPE_CHECKING:
    import torch

StrandChoice = Literal["both", "forward"]
NO_NULL = "none"
RECORD = ".run.json"
INDEXES = (".tbi", ".csi")
_LARGEST = (1 << 32) - 1
_FORMATS = {".vcf": "vcf", ".vcf.gz": "vcf", ".tsv": "tsv", ".tsv.gz": "tsv", ".parquet": "parquet"}


class Request(NamedTuple):
    """The arguments of :func:`~chromtransfer_plugin.variants.run.score_variants`."""

    path: Path
    outs: tuple[Path, ...]
    genome: Path
    strand: StrandChoice
    shifts: tuple[int, ...]
    edges: Edges
    swap: bool
    null: str
    null_size: int
    null_regions: Path | None
    cache: Path | None
    width: int | None
    batch_size: int
    device: str
    seed: int
    top: int
    figures: Path | None


class Plan(NamedTuple):
    """A checked request, its models and genome."""

    request: Request
    predictors: list[Predictor]
    columns: list[str]
    genome: Genome
    settings: Settings
    device: torch.device
    stamp: tuple[int, int]  # of the input before it was read
    targets: list[Path]  # every file that may be written

    @property
    def out(self) -> Path:
        """The first output, which names what lies beside it."""
        return self.request.outs[0]


def paths_of(out: str | Path | Sequence[str | Path]) -> tuple[Path, ...]:
    """Give the outputs, of which one may stand alone."""
    given = [out] if isinstance(out, str | Path) else list(out)
    if not given:
        raise ChromTransferError("variants: no output given, expected at least one: -o FILE.")
    return tuple(Path(path).expanduser() for path in given)


def format_of(out: Path) -> str:
    """Give the format that a file's name tells: vcf, tsv or parquet."""
    for suffix, format in _FORMATS.items():
        if out.name.lower().endswith(suffix):
            return format
    raise ChromTransferError(f"{out}: the name does not tell a format. End it in {', '.join(_FORMATS)}.")


def is_bgzip(out: Path) -> bool:
    """Tell whether an output is a compressed VCF, which gets an index."""
    return out.name.lower().endswith(".vcf.gz")


def check_request(request: Request) -> None:
    """Refuse arguments that have no meaning, and an input that cannot be read twice."""
    for out in request.outs:
        format_of(out)
    for name, choices in (("strand", get_args(StrandChoice)), ("edges", get_args(Edges))):
        if getattr(request, name) not in choices:
            raise ChromTransferError(
                f"{name} is {getattr(request, name)!r}, expected one of {', '.join(choices)}."
            )
    for name, least in (("batch_size", 1), ("null_size", 1), ("seed", 0), ("top", 0)):
        value = getattr(request, name)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= _LARGEST:
            raise ChromTransferError(
                f"{name} is {value!r}, expected a whole number from {least} to {_LARGEST}."
            )
    if request.figures is not None and not request.top:
        raise ChromTransferError(f"figures: {request.figures}: top is 0, expected how many alleles to draw.")
    _check_null(request)
    plans.check_width(request.width)
    if str(request.path) == "-":
        raise ChromTransferError(
            "variants: the VCF is read several times. Save standard input to a file first."
        )
    plans.check_readable_again(request.path)


def _check_null(request: Request) -> None:
    null = request.null
    if null not in (*KINDS, NO_NULL) and not Path(null).expanduser().is_file():
        raise ChromTransferError(
            f"null is '{null}', expected one of {', '.join((*KINDS, NO_NULL))}, or a VCF; there is no such file."
        )
    if request.null_regions is not None and null not in KINDS:
        raise ChromTransferError(
            f"null-regions say where variants are drawn, which only the nulls {' and '.join(KINDS)} do; null is '{null}'."
        )


def with_centre(shifts: Sequence[int], width: int) -> tuple[int, ...]:
    """Give the shifts with 0 at the front, each once; raise if one has no meaning for windows of ``width``."""
    for shift in shifts:
        if isinstance(shift, bool) or not isinstance(shift, int) or abs(shift) >= width // 2:
            raise ChromTransferError(
                f"shift is {shift!r}, expected whole bp of less than half the window, {width // 2}: beyond that the "
                "variant is not in the window."
            )
    return tuple(dict.fromkeys((0, *shifts)))


def make_plan(request: Request, predictors: list[Predictor], report: Callable[[str], object]) -> Plan:
    """Check the outputs, open the genome and choose the device.

    Raises
    ------
    ChromTransferError
        If any of them is not usable.
    """
    members = [member for predictor in predictors for member in predictor.members]
    targets = _targets(request)
    inputs = [request.path, request.genome, *plans.model_files(members)]
    inputs += [path for path in (request.null_regions, request.cache) if path is not None]
    inputs += [] if request.null in (*KINDS, NO_NULL) else [Path(request.null).expanduser()]
    plans.check_targets(targets, inputs)
    _check_names(targets, request.cache, request.figures)
    if request.figures is not None:
        from chromtransfer_plugin.variants.explain import check_folder

        check_folder(request.figures)
    width = plans.common_window(members) if request.width is None else request.width
    device = plans.announce(members, request.device, report)
    settings = Settings(
        width,
        STRANDS if request.strand == "both" else STRANDS[:1],
        with_centre(request.shifts, width),
        request.batch_size,
        str(device),
    )
    before = plans.stamp(request.path)
    columns = [column for predictor in predictors for column in predictor.columns]
    genome = Genome(request.genome)
    return Plan(request, predictors, columns, genome, settings, device, before, targets)


def _targets(request: Request) -> list[Path]:
    indexes = [plans.beside(out, suffix) for out in request.outs if is_bgzip(out) for suffix in INDEXES]
    return [*request.outs, *indexes, *(plans.beside(request.outs[0], suffix) for suffix in (RECORD, DROPPED))]


def _check_names(targets: Sequence[Path], cache: Path | None, figures: Path | None) -> None:
    """Raise if a file that is written has several names, or would be replaced by the folder of the figures."""
    places: set[Path] = set()
    for path in targets:
        place = path.resolve()
        if place in places:
            raise ChromTransferError(f"{path}: would be written twice. Choose different names.")
        places.add(place)
    if cache is not None:
        if cache.resolve() in places:
            raise ChromTransferError(f"{cache}: is an output and the cache. Choose different names.")
        places.add(cache.resolve())
    if figures is not None and any(place.is_relative_to(figures.resolve()) for place in places):
        raise ChromTransferError(
            f"{figures}: an output or the cache lies in the folder of the figures, which is replaced as a whole. Choose "
            "another folder."
        )


def facts_of(plan: Plan, null: dict[str, Any] | None) -> dict[str, Any]:
    """Give what the results depend on, besides the input, without any path."""
    import chromtransfer_plugin

    request, settings = plan.request, plan.settings
    return {
        "version": chromtransfer_plugin.__version__,
        "models": [predictor.facts for predictor in plan.predictors],
        "genome": plan.genome.identity,
        "window": settings.width,
        "strand": request.strand,
        "shifts": list(settings.shifts),
        "edges": request.edges,
        "swap": request.swap,
        "null": null,
    }
