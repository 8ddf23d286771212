"""What is noted while a data set is made: files read, regions left at each step, rows left out, remarks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from chromtransfer_plugin.checkpoint import sha256
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.preparation.manifest import FunnelStep, InputFile


@dataclass
class Ledger:
    """Notes of one run.

    Attributes
    ----------
    base : Path
        Folder that file names are relative to.
    say : callable
        Receives one line on what is being done.
    progress : bool
        Show bars.
    inputs, funnel : list
        See :class:`~chromtransfer_plugin.preparation.manifest.Manifest`.
    dropped : list of (str, int, str, str)
        File, line, reason and text of each row that was left out.
    remarks : list of str
        What a user should know of.
    """

    base: Path
    say: Callable[[str], None] = field(default=lambda _: None)
    progress: bool = False
    inputs: list[InputFile] = field(default_factory=list)
    funnel: list[FunnelStep] = field(default_factory=list)
    dropped: list[tuple[str, int, str, str]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def count(self, group: str, step: str, count: int) -> None:
        """Add a step to the funnel."""
        self.funnel.append(FunnelStep(group=group, step=step, count=int(count)))

    def remark(self, text: str) -> None:
        """Note what a user should know of."""
        self.remarks.append(text)

    def path(self, written: str) -> Path:
        """Give the path of a file that the YAML file names."""
        return self.base / Path(written).expanduser()

    def read(self, role: str, written: str) -> None:
        """Note a file that was read, with its hash."""
        path = self.path(written)
        self.inputs.append(InputFile(role=role, path=written, sha256=sha256(path), bytes=path.stat().st_size))

    def drop(self, written: str, rows: Iterable[tuple[int, str, str]]) -> int:
        """Note rows that were left out, as line, text and reason; return how many."""
        before = len(self.dropped)
        self.dropped += [(written, line, reason, text) for line, text, reason in rows]
        return len(self.dropped) - before

    def require_files(self, files: Iterable[str]) -> None:
        """Raise before any work if a file is not there."""
        for written in files:
            path = self.path(written)
            try:
                found = path.is_file()
            except OSError as error:
                raise ChromTransferError(
                    f"{str(path)[:120]}...: cannot be read ({error.strerror})."
                ) from error
            if not found:
                what = "is a folder, expected a file" if path.is_dir() else "no such file"
                raise ChromTransferError(f"{path}: {what} (named as {written!r}, relative to {self.base}).")
