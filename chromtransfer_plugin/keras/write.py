"""Write what was imported from Keras: checkpoints, or entries of a model zoo."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from chromtransfer_plugin.checkpoint import CARD, save_model
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.keras.folder import Found, find_models
from chromtransfer_plugin.keras.importer import Imported, read_config, read_keras
from chromtransfer_plugin.published import AUTHORS


def import_keras(
    path: str | Path,
    out: str | Path,
    *,
    name: str | None = None,
    outputs: Sequence[str] | None = None,
    license: str | None = None,
    zoo: bool | None = None,
    overwrite: bool = False,
    table: bool | None = None,
) -> str:
    """Convert a Keras file, a Keras configuration (.json) or a folder laid out as the published repository.

    Nothing is written unless every file is sound.

    Parameters
    ----------
    path : path
    out : path
        The checkpoint folder to write, or with ``zoo`` the source that gets ``ChromTransfer/NAME``.
    name, outputs, license
        As :func:`~chromtransfer_plugin.keras.importer.read_keras`; the first two for a single file only.
    zoo : bool, optional
        Write entries of a model zoo, for ``kipoi test OUT/ChromTransfer/NAME --source=dir``. Default: for folders.
    overwrite : bool
        Replace models that exist.
    table : bool, optional
        List every array and its tensor in the report. Default: for single files.

    Returns
    -------
    str
        What was found in each file, what was written, left aside and missing.

    Raises
    ------
    ChromTransferError
        As ``read_keras``; also if a model exists already or nothing can be written.
    """
    path, out = Path(path).expanduser(), Path(out).expanduser()
    several = path.is_dir()
    if several and (name or outputs):
        raise ChromTransferError(
            f"{path}: is a folder of models; name and outputs are given for a single file only."
        )
    zoo = several if zoo is None else zoo
    table = not several if table is None else table
    if several:
        found = find_models(path)
        models = [read_keras(file, name=key, license=license) for key, file in found.files.items()]
    else:
        found = Found()
        if path.suffix.lower() == ".json":
            models = [read_config(path, name=name, outputs=outputs, license=license)]
        else:
            models = [read_keras(path, name=name, outputs=outputs, license=license)]
    targets = _targets(models, out, zoo, several, overwrite)
    report = []
    for model, target in zip(models, targets, strict=True):
        written = _write(model, target, out if zoo else None, overwrite)
        report += [model.summary(), f"  written   {written}"]
        if table and model.table:
            report += ["", model.table_text(), ""]
    report += [f"left aside: {text}" for text in found.aside] + [f"missing: {text}" for text in found.missing]
    return "\n".join(report)


def _targets(models: list[Imported], out: Path, zoo: bool, several: bool, overwrite: bool) -> list[Path]:
    """Give the folder of each model, free or to be replaced, before anything is written."""
    targets = []
    for model in models:
        target = out
        if zoo or several:
            from chromtransfer_plugin.kipoi.group import GROUP, check_group_names

            if not model.name:
                raise ChromTransferError(
                    f"{model.path}: what to call this model in the zoo cannot be told from the file: name it (--name)."
                )
            check_group_names(model.name, GROUP)
            target = out / GROUP / model.name
        if (target / CARD).exists() and not overwrite:
            raise ChromTransferError(
                f"{target}: holds a model already. Choose another folder, or --overwrite."
            )
        targets.append(target)
    return targets


def _write(model: Imported, target: Path, source: Path | None, overwrite: bool) -> Path:
    """Write one model as a checkpoint, or as an entry of the zoo ``source``."""
    if source is None:
        return save_model(model.model, target, model.card)
    from chromtransfer_plugin.kipoi.group import add_to_group

    authors: tuple[str, ...] | None = None  # of what was built here
    if model.table:
        authors = AUTHORS if "published" in model.card.source else ("Not stated in the imported file",)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = save_model(model.model, folder, model.card)
        return add_to_group(checkpoint, target.name, source, overwrite=overwrite, authors=authors)
