"""Find the models in a folder laid out as the published repository."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.published import MODEL_PATHS, MULTICLASS, git_blob_id

LINE_FILES = "models/tensorflow1/rDHS/*/model_compiled.h5"
MULTICLASS_FILES = "multiclass-baseline/train/*.h5"


@dataclass
class Found:
    """Models of a folder: one file for each name, what is left aside and why, and which published ones are missing."""

    files: dict[str, Path] = field(default_factory=dict)
    aside: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def find_models(folder: Path) -> Found:
    """Find one file for each model; of several, the first in the order of ``published.MODEL_PATHS``.

    Parameters
    ----------
    folder : Path
        The published repository, or a folder that holds it alone, as an unpacked archive does. Models may be missing,
        and ``models/tensorflow1/rDHS`` may hold further lines.

    Raises
    ------
    ChromTransferError
        If there is none.
    """
    root = _root(folder)
    candidates = {name: [root / path for path in paths] for name, paths in MODEL_PATHS.items()}
    for path in sorted(root.glob(LINE_FILES)):
        candidates.setdefault(path.parent.name, [path])
    candidates[MULTICLASS] += sorted(set(root.glob(MULTICLASS_FILES)) - set(candidates[MULTICLASS]))
    found = Found()
    for name, paths in candidates.items():
        present = [path for path in paths if path.is_file()]
        if not present:
            found.missing.append(f"{name} ({MODEL_PATHS[name][0]})")
            continue
        found.files[name] = present[0]
        for other in present[1:]:
            same = git_blob_id(other) == git_blob_id(present[0])
            reason = "the same bytes as" if same else f"another file of {name}; taken is"
            found.aside.append(f"{other.relative_to(root)}: {reason} {present[0].relative_to(root)}")
    if not found.files:
        raise ChromTransferError(
            f"{folder}: no model found. Expected a Keras file (.h5), or a folder laid out as the published repository, "
            f"e.g. with {LINE_FILES.replace('*', 'K562')} in it."
        )
    return found


def _root(folder: Path) -> Path:
    tops = {path.split("/")[0] for paths in MODEL_PATHS.values() for path in paths}
    inner = [path for path in sorted(folder.iterdir()) if path.is_dir()]
    if len(inner) == 1 and inner[0].name not in tops:
        return inner[0]
    return folder
