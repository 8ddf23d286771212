"""JSON records of a fixed form: one way to write them, and to refuse what is not one."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import atomic_path

Record = TypeVar("Record", bound=BaseModel)


def write_record(record: BaseModel, path: str | Path) -> None:
    """Write a record as indented JSON, whole or not at all; numbers that are not known (NaN) become null."""
    with atomic_path(path) as temporary:
        temporary.write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_record(path: str | Path, form: type[Record], what: str) -> Record:
    """Read a record.

    Parameters
    ----------
    path : path
    form : type
        The pydantic model it must fit.
    what : str
        What the file is, for messages: ``"the record of `chromtransfer evaluate`"``.

    Raises
    ------
    ChromTransferError
        If the file is missing, unreadable or of another form.
    """
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        raise ChromTransferError(f"{path}: cannot be read as {what}: {error.strerror or error}.") from error
    try:
        return form.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the whole file"
        more = f" ({error.error_count()} faults in all)" if error.error_count() > 1 else ""
        raise ChromTransferError(
            f"{path}: is not {what}: at {place}: {first['msg']}{more}. Make it again with this version."
        ) from error
