"""Published weights, region labels, genome and motifs: where they come from and how each is verified."""

from __future__ import annotations

import gzip
import hashlib
import re
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import quote

from chromtransfer_plugin import published
from chromtransfer_plugin.download import copy_verified, download
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import atomic_path, cache_folder
from chromtransfer_plugin.verify import (
    CHUNK,
    LFS_POINTER,
    SHA256,
    Expected,
    Inspect,
    bytes_bar,
    digests,
    is_there,
    read_record,
    record_path,
    write_record,
)
from chromtransfer_plugin.web import NotThereError, Patience, check_url, is_url, read_text, shown

PUBLISHED = "published"
LABELS = "labels"
HG38 = "hg38"
JASPAR = "jaspar"
_RAW = f"{published.REPOSITORY.replace('github.com', 'raw.githubusercontent.com')}/{published.COMMIT}"
SERVERS = {
    PUBLISHED: _RAW,
    LABELS: _RAW,
    HG38: "https://hgdownload.soe.ucsc.edu/goldenPath/hg38/bigZips",
    JASPAR: "https://jaspar.elixir.no/download/data/2024/CORE",
}
HG38_PACKED = "hg38.fa.gz"
HG38_FASTA = "hg38.fa"
HG38_SUMS = "md5sum.txt"
JASPAR_FILE = "JASPAR2024_CORE_vertebrates_non-redundant_pfms_meme.txt"
JASPAR_RELEASE = "JASPAR2024"

_MB = 1_000_000
_ROUNDING = 1e-5  # of probabilities printed with six decimals


class Fetched(NamedTuple):
    """What became of one file.

    Attributes
    ----------
    name : str
        As ``only`` takes it.
    path : Path
        Where the file is, or would be.
    downloaded : bool
        False if it was there already, or failed.
    verified_by : str
        What the file was compared with.
    error : str
        Why there is no file; "" if there is one.
    """

    name: str
    path: Path
    downloaded: bool = False
    verified_by: str = ""
    error: str = ""

    def __str__(self) -> str:
        if self.error:
            return f"{self.name}: FAILED: {self.error}"
        state = "downloaded" if self.downloaded else "already there"
        return f"{self.name}: {self.path} ({state}; {self.verified_by})"


@dataclass(frozen=True)
class Item:
    """One file that can be fetched: ``path`` below the server's address, ``file`` below the output folder."""

    name: str
    path: str
    file: str
    expected: Expected
    max_bytes: int
    inspect: Inspect | None = None
    verified_by: str = ""


@dataclass(frozen=True)
class _Place:
    """Where files come from and go to."""

    base: str
    folder: Path
    offline: bool
    replace: bool  # what is in the way: yes in our cache, no in a folder of the user's
    patience: Patience | None

    def address(self, path: str) -> str:
        return f"{self.base}/{quote(path)}" if is_url(self.base) else str(Path(self.base) / path)


def fetch(
    what: str,
    *,
    out: str | Path | None = None,
    only: Sequence[str] = (),
    url: str | None = None,
    offline: bool = False,
    sha256: str | None = None,
    patience: Patience | None = None,
    say: Callable[[Fetched], object] | None = None,
) -> list[Fetched]:
    """Download files that are not there yet, each verified before it gets its name.

    A file that cannot be had does not keep the others from being fetched.

    Parameters
    ----------
    what : {"published", "labels", "hg38", "jaspar"}
        The published Keras models, the published regions with labels, the human genome, or JASPAR 2024's motifs.
    out : path, optional
        Folder to write to. Default: the folder of that name in :func:`~chromtransfer_plugin.files.cache_folder`.
    only : sequence of str
        Names of models or cell lines; default: all.
    url : str, optional
        Address of a mirror, or its local folder, with the files under their usual paths.
    offline : bool
        Only verify what is there.
    sha256 : str, optional
        Pin for ``hg38`` (of hg38.fa.gz) or ``jaspar``.
    patience : Patience, optional
        Limits of waiting and trying.
    say : callable, optional
        Gets the result of each file as soon as it is settled.

    Returns
    -------
    list of Fetched
        One for each file, also for those that failed.

    Raises
    ------
    ChromTransferError
        If an argument is unusable. What happens to a file is in its :class:`Fetched`.
    """
    if what not in SERVERS:
        raise ChromTransferError(f"fetch: '{what}' is not known: use {', '.join(SERVERS)}.")
    if sha256 is not None and not (what in (HG38, JASPAR) and SHA256.fullmatch(sha256)):
        raise ChromTransferError(
            f"fetch {what}: sha256={sha256!r}: expected 64 hexadecimal digits, for hg38 or jaspar."
        )
    if only and what in (HG38, JASPAR):
        raise ChromTransferError(
            f"fetch {what}: only={list(only)}: this is one file, there is nothing to choose."
        )
    place = _Place(
        _base(SERVERS[what] if url is None else url),
        Path(out).expanduser() if out is not None else cache_folder() / what,
        offline,
        out is None,
        patience,
    )
    jobs: list[tuple[str, Path, Callable[[], Fetched]]]
    if what == HG38:
        jobs = [(HG38, place.folder / HG38_FASTA, partial(_fetch_hg38, place, sha256))]
    else:
        items = _chosen(what, _items(what, sha256), only)
        jobs = [(item.name, place.folder / item.file, partial(_fetch_item, place, item)) for item in items]
    results = []
    for name, path, job in jobs:
        try:
            result = job()
        except ChromTransferError as error:
            result = Fetched(name, path, error=str(error))
        results.append(result)
        if say is not None:
            say(result)
    return results


def summary(results: Iterable[Fetched]) -> str:
    """Count what was fetched and list what was not."""
    results = list(results)
    failed = [result for result in results if result.error]
    new = sum(result.downloaded for result in results)
    old = len(results) - new - len(failed)
    text = f"{len(results)} file(s): {new} downloaded, {old} already there, {len(failed)} failed"
    return text + (": " + ", ".join("/".join(one.path.parts[-2:]) for one in failed) if failed else ".")


def _base(text: str) -> str:
    if is_url(text):
        return check_url(text).rstrip("/")
    folder = Path(text).expanduser()
    if not text or not folder.is_dir():
        raise ChromTransferError(
            f"{text or '--url is empty'}: neither a URL (https://...) nor an existing folder."
        )
    return str(folder)


def _items(what: str, sha256: str | None) -> list[Item]:
    if what == JASPAR:
        by = f"SHA-256 {sha256}, and " if sha256 else ""
        by += f"matrices equal to those of {JASPAR_RELEASE} in pyjaspar"
        pin = Expected(sha256=sha256)
        return [Item(JASPAR, JASPAR_FILE, JASPAR_FILE, pin, 20 * _MB, check_jaspar, by)]
    files = published.MODEL_FILES if what == PUBLISHED else published.REGION_FILES
    items = []
    for path, blob in files.items():
        parts = PurePosixPath(path)
        if what == PUBLISHED:  # under the paths that `import-keras FOLDER` knows
            name, file = published.model_name(path) or parts.stem, path
        else:
            name, file = parts.stem, f"{parts.parent.name}/{parts.name}"
        items.append(
            Item(name, path, file, Expected(git_blob=blob), 500 * _MB, _no_pointer, f"git blob id {blob}")
        )
    return items


def _chosen(what: str, items: list[Item], only: Sequence[str]) -> list[Item]:
    known = list(dict.fromkeys(item.name for item in items))
    for name in only:
        if name not in known:
            raise ChromTransferError(f"fetch {what}: there is no '{name}': use {', '.join(known)}.")
    return [item for item in items if not only or item.name in only]


def _fetch_item(place: _Place, item: Item) -> Fetched:
    target = place.folder / item.file
    new = not is_there(target, item.expected, item.inspect)
    if new:
        _may_fetch(place, target, item.path, item.verified_by)
        _get(place, item, target)
    return Fetched(item.name, target, new, item.verified_by)


def _may_fetch(place: _Place, target: Path, path: str, wanted: str) -> None:
    """Refuse to go online when told not to, and to replace a file that may be the user's own."""
    if place.offline:
        state = f"is not the expected file ({wanted})" if target.exists() else "is not there"
        raise ChromTransferError(
            f"{target}: {state}, and with --offline nothing is downloaded. It comes from {shown(place.address(path))}."
        )
    if target.exists() and not place.replace:
        raise ChromTransferError(
            f"{target}: exists, but is not the expected file ({wanted}). It is kept: move it away or use another --out."
        )


def _get(place: _Place, item: Item, target: Path) -> None:
    if is_url(place.base):
        download(
            place.address(item.path), target, item.expected, max_bytes=item.max_bytes, inspect=item.inspect,
            patience=place.patience,
        )  # fmt: skip
    else:
        copy_verified(
            Path(place.base) / item.path,
            target,
            item.expected,
            max_bytes=item.max_bytes,
            inspect=item.inspect,
        )


def _no_pointer(path: Path) -> None:
    """Refuse a Git-LFS pointer: it has the right blob id, but is not the data."""
    with path.open("rb") as stream:
        head = stream.read(400)
    if head.startswith(LFS_POINTER):
        facts = ", ".join(head.decode("ascii", "replace").splitlines()[1:3])
        raise ChromTransferError(
            f"the repository keeps this file in Git LFS: the verified file is only a pointer to it ({facts}). Clone "
            f"{published.REPOSITORY} with git-lfs installed and use the files of the clone."
        )


def check_jaspar(path: Path) -> None:
    """Refuse a MEME file whose matrices are not those of JASPAR 2024, CORE, vertebrates, as pyjaspar ships them.

    The publisher gives no checksum; equal matrices are what matters, in whatever order and with whatever comments.

    Raises
    ------
    ChromTransferError
        Naming the first motif that differs.
    """
    from chromtransfer_plugin.motifs import read_motifs

    read = read_motifs(path)
    found = {name.partition(" ")[0]: matrix for name, matrix in read.items()}
    known = {name.partition(" ")[0]: matrix for name, matrix in read_motifs(JASPAR_RELEASE).items()}
    if len(read) != len(known) or found.keys() != known.keys():
        odd = min(found.keys() ^ known.keys(), default="one that is there twice")
        raise ChromTransferError(
            f"{len(read)} motifs, {JASPAR_RELEASE} has {len(known)}; the first that differs is {odd}."
        )
    for name, matrix in known.items():
        if found[name].shape != matrix.shape or abs(found[name] - matrix).max() > _ROUNDING:
            raise ChromTransferError(f"the matrix of {name} is not the one of {JASPAR_RELEASE}.")


def _fetch_hg38(place: _Place, pin: str | None) -> Fetched:
    """Fetch, verify and unpack the genome: UCSC's file is plain gzip, which tools cannot index."""
    target = place.folder / HG38_FASTA
    record = read_record(target)
    if pin is not None and record and record["download"]["sha256"] != pin.lower():
        record = {}
    by = f"SHA-256 in {record_path(target).name}"
    if record and is_there(target, Expected(size=record["size"], sha256=record["sha256"])):
        return Fetched(HG38, target, False, by)
    _may_fetch(place, target, HG38_PACKED, by)
    # Removed in the end, so not under a name that a file of the user's own may have.
    packed = place.folder / f".{HG38_PACKED}"
    expected, by = (
        (Expected(sha256=pin), f"SHA-256 {pin.lower()}") if pin is not None else _published_md5(place)
    )
    _get(place, Item(HG38, HG38_PACKED, HG38_PACKED, expected, 3_000 * _MB), packed)
    kinds = digests(packed, ("sha256", "md5"))
    try:
        size, sha256 = unpack_fasta(packed, target, 6_000 * _MB)
    except NotAFastaError as error:
        packed.unlink()  # else the next run would take it for the download
        raise ChromTransferError(
            f"{shown(place.address(HG38_PACKED))}: {by} fits, but the file was refused and removed: {error} Use another "
            "server (--url)."
        ) from error
    write_record(
        target,
        {
            "url": shown(place.address(HG38_PACKED)),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "verified_by": by,
            "size": size,
            "sha256": sha256,
            "download": {"file": HG38_PACKED, "size": packed.stat().st_size, **kinds},
        },
    )
    packed.unlink()
    return Fetched(HG38, target, True, f"{by}; to pin it: --sha256 {kinds['sha256']}")


def _published_md5(place: _Place) -> tuple[Expected, str]:
    address = place.address(HG38_SUMS)
    advice = "Give the SHA-256 of hg38.fa.gz yourself (--sha256), or use another server (--url)."
    try:
        text = (
            read_text(address, _MB, place.patience).text
            if is_url(address)
            else Path(address).read_text(encoding="utf-8")
        )
    except (NotThereError, OSError, UnicodeDecodeError):
        raise ChromTransferError(f"{shown(address)}: there is no list of checksums here. {advice}") from None
    match = re.search(rf"^([0-9a-fA-F]{{32}})[ \t]+\*?{re.escape(HG38_PACKED)}[ \t\r]*$", text, re.MULTILINE)
    if match is None:
        raise ChromTransferError(
            f"{shown(address)}: has no line '<MD5>  {HG38_PACKED}', so the download could not be verified. {advice}"
        )
    md5 = match[1].lower()
    return Expected(md5=md5), f"MD5 {md5} in {shown(address)}"


class NotAFastaError(ChromTransferError):
    """A file is no compressed FASTA of a sensible size."""


def unpack_fasta(packed: Path, target: Path, max_bytes: int) -> tuple[int, str]:
    """Write a gzip-compressed FASTA as plain text.

    Returns
    -------
    tuple of int and str
        Size and SHA-256 of the plain file.

    Raises
    ------
    NotAFastaError
        If it is damaged, no FASTA, or larger than ``max_bytes``.
    ChromTransferError
        If the plain file cannot be written.
    """
    digest, size = hashlib.sha256(), 0
    try:
        with (
            atomic_path(target) as temporary,
            packed.open("rb") as raw,
            gzip.open(raw) as stream,
            temporary.open("wb") as out,
            bytes_bar(f"unpacking {packed.name}", packed.stat().st_size) as bar,
        ):
            while piece := stream.read(4 * CHUNK):
                if not size and not piece.startswith(b">"):
                    raise NotAFastaError(f"{packed}: is no FASTA, it starts with {piece[:20]!r}.")
                size += len(piece)
                if size > max_bytes:
                    raise NotAFastaError(f"{packed}: unpacks to more than {max_bytes:,} bytes, refused.")
                digest.update(piece)
                out.write(piece)
                bar.update(raw.tell() - bar.n)
            if not size:
                raise NotAFastaError(f"{packed}: holds nothing.")
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise NotAFastaError(f"{packed}: cannot be unpacked ({error}).") from error
    return size, digest.hexdigest()
