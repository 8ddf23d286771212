"""Publishing models of a zoo, and getting models that others published."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from chromtransfer_plugin.checkpoint import CARD, WEIGHTS, load_model, read_card
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import atomic_folder, make_folder
from chromtransfer_plugin.kipoi.description import EXPECTATION
from chromtransfer_plugin.kipoi.example import check_expectation
from chromtransfer_plugin.kipoi.group import check_free, missing_files, register
from chromtransfer_plugin.verify import is_there
from chromtransfer_plugin.web import ChangedError, Patience
from chromtransfer_plugin.zoo.card import presentation
from chromtransfer_plugin.zoo.remotes import open_remote
from chromtransfer_plugin.zoo.shared import (
    INDEX,
    MOST_MODELS,
    Index,
    Remote,
    SharedModel,
    check_full_name,
    check_pulled_name,
    describe,
)
from chromtransfer_plugin.zoo.source import ZooEntry, ZooSource, get_entry, installed_zoo, verify

_CONFLICTS = 5  # times somebody else may write the index at the same moment


class Shared(NamedTuple):
    """What became of one model.

    Attributes
    ----------
    name : str
        ``GROUP/NAME``, or what was asked for if there is no such model.
    place : str
        Where it is now.
    copied : bool
        False if the same was there already, or it failed.
    error : str
        Why it failed; "" if it did not.
    """

    name: str
    place: str
    copied: bool = False
    error: str = ""

    def __str__(self) -> str:
        state = f"FAILED: {self.error}" if self.error else self.place
        return f"{self.name}: {state}{'' if self.copied or self.error else ' (the same was there already)'}"


def push(
    models: Sequence[str | Path],
    to: str | Path,
    *,
    source: str | Path | None = None,
    overwrite: bool = False,
    patience: Patience | None = None,
    say: Callable[[Shared], object] | None = None,
) -> list[Shared]:
    """Publish models: their weights, card, expectation and README, then the index that names them.

    A model that cannot be published does not keep the others from it.

    Parameters
    ----------
    models : sequence of str or path
        Names or folders of models of a group.
    to : str or path
        A folder, the address of one on an HTTP server that takes PUT, or ``hf://owner/repository``. The environment
        variable ``CHROMTRANSFER_ZOO_TOKEN`` may hold a bearer token for the server.
    source : path, optional
        Folder that names are looked up in [default: the installed models, then those of the package].
    overwrite : bool
        Replace published models of the same name.
    patience : Patience, optional
        Limits of waiting and trying.
    say : callable, optional
        Gets the result of each model as soon as it is settled.

    Returns
    -------
    list of Shared
        One for each model.

    Raises
    ------
    ChromTransferError
        If the target cannot be used, or its index cannot be written.
    """
    remote = open_remote(to, patience, writing=True)
    index, _ = remote.read_index()
    tell = _teller(say)
    results: list[Shared] = []
    chosen: dict[str, tuple[Path, SharedModel]] = {}
    for model in models:
        try:
            entry = _to_push(model, source)
            facts = describe(entry.folder)
            if index.models.get(entry.name) == facts:
                results.append(tell(Shared(entry.name, remote.shown)))
            elif entry.name in index.models and not overwrite:
                raise ChromTransferError(
                    f"{remote.shown}: has another model '{entry.name}'. Rename yours, or replace it (--overwrite)."
                )
            else:
                chosen[entry.name] = entry.folder, facts
        except ChromTransferError as error:
            results.append(tell(Shared(str(model), remote.shown, error=str(error))))
    replaced = [name for name in chosen if name in index.models]
    if replaced and remote.piecewise:
        _change_index(remote, remove=replaced)  # while its files change, the index must not name a model
    stored: dict[str, SharedModel] = {}
    for name, (folder, facts) in chosen.items():
        try:
            remote.store(name, folder, facts, overwrite)
            stored[name] = facts
        except ChromTransferError as error:
            results.append(tell(Shared(name, remote.shown, error=str(error))))
    if stored:
        _change_index(remote, add=stored)
    return results + [tell(Shared(name, f"{remote.shown}/{name}", True)) for name in stored]


def pull(
    names: Sequence[str],
    source: str | Path,
    *,
    every: bool = False,
    into: str | Path | None = None,
    overwrite: bool = False,
    patience: Patience | None = None,
    say: Callable[[Shared], object] | None = None,
) -> list[Shared]:
    """Get published models. Each appears when all its files have the SHA-256 of the index and it works.

    Working means: the weights are those of the card, the network can be built and loaded, and it gives the
    probabilities that came with it. Only ``model.safetensors``, ``card.json``, ``expect.h5`` and ``README.md`` are taken;
    what Kipoi needs beside them is written anew. A model that cannot be had does not keep the others from it.

    Parameters
    ----------
    names : sequence of str
        ``GROUP/NAME``, or ``NAME`` if only one group has it.
    source : str or path
        As ``to`` of :func:`push`.
    every : bool
        All models, instead of ``names``.
    into : path, optional
        Zoo source to write to [default: the installed models].
    overwrite : bool
        Replace models of the same name.
    patience, say
        As :func:`push`.

    Returns
    -------
    list of Shared
        One for each model.

    Raises
    ------
    ChromTransferError
        If nothing is shared at ``source``, or its index is damaged.
    """
    remote = open_remote(source, patience)
    index, version = remote.read_index()
    if version is None:
        raise ChromTransferError(
            f"{remote.shown}: has no {INDEX}, so nothing was shared here with `chromtransfer zoo push`. Models of a folder "
            f"without one: chromtransfer zoo install NAME --from {remote.shown}"
        )
    root = ZooSource(into if into is not None else installed_zoo()).path
    tell = _teller(say)
    results = []
    for asked in index.models if every else names:
        name = asked
        try:
            name = _published_name(asked, index, remote)
            copied = _pull_one(remote, name, index.models[name], root, overwrite)
            results.append(tell(Shared(name, str(root / name), copied)))
        except ChromTransferError as error:
            results.append(tell(Shared(name, str(root / name), error=str(error))))
    return results


def summary(results: Iterable[Shared]) -> str:
    """Count what was done and list what was not."""
    results = list(results)
    failed = [result.name for result in results if result.error]
    new = sum(result.copied for result in results)
    text = f"{len(results)} model(s): {new} copied, {len(results) - new - len(failed)} there already, {len(failed)} failed"
    return text + (f": {', '.join(failed)}" if failed else ".")


def _teller(say: Callable[[Shared], object] | None) -> Callable[[Shared], Shared]:
    def tell(result: Shared) -> Shared:
        if say is not None:
            say(result)
        return result

    return tell


def _to_push(model: str | Path, source: str | Path | None) -> ZooEntry:
    """Find a model that is fit to be published."""
    entry = get_entry(model, source)
    if not entry.group:
        raise ChromTransferError(
            f"{entry.folder}: is in no group. Put it into one: chromtransfer zoo add {entry.folder} --name NAME"
        )
    if problem := verify(entry):
        raise ChromTransferError(f"{entry.folder}: damaged, not published: {problem}.")
    check_full_name(entry.name, str(entry.folder))
    return entry


def _change_index(
    remote: Remote, add: Mapping[str, SharedModel] | None = None, remove: Sequence[str] = ()
) -> None:
    """Change the entries of some models, leaving what others did to the index in the meantime."""
    for _ in range(_CONFLICTS):
        index, version = remote.read_index()
        models = {name: model for name, model in index.models.items() if name not in remove} | dict(add or {})
        if len(models) > MOST_MODELS:
            raise ChromTransferError(f"{remote.shown}: would hold more than {MOST_MODELS:,} models.")
        try:
            return remote.write_index(Index(models=models), version)
        except ChangedError:
            continue
    raise ChromTransferError(f"{remote.shown}: others keep changing {INDEX}. Run the same command again.")


def _published_name(asked: str, index: Index, remote: Remote) -> str:
    """Give the full name of a published model, or say which there are."""
    wanted = asked.strip("/")
    found = [name for name in index.models if name == wanted] or [
        name for name in index.models if name.rpartition("/")[2] == wanted
    ]
    if len(found) == 1:
        return found[0]
    problem = f"{len(found)} models have" if found else "no model has"
    there = ", ".join(found or sorted(index.models)) or "none"
    raise ChromTransferError(
        f"{remote.shown}: {problem} the name '{asked}'. Available{' of this name' if found else ''}: {there}."
    )


def _pull_one(remote: Remote, name: str, facts: SharedModel, root: Path, overwrite: bool) -> bool:
    """Get one model; tell whether it had to be copied."""
    group, last = check_pulled_name(name, remote.shown)
    target = root / group / last
    if all(
        is_there(target / file, facts.files[file].expected) for file in (WEIGHTS, CARD)
    ) and not missing_files(target):
        return False
    check_free(target, overwrite)
    make_folder(target.parent)
    with atomic_folder(target) as new:
        try:
            for file, expected in facts.files.items():
                remote.fetch(f"{name}/{file}", new / file, expected)
            check_works(new, facts.files[WEIGHTS].sha256)
        except ChromTransferError as error:
            raise ChromTransferError(str(error).replace(str(new), f"{remote.shown}/{name}")) from error
    if last not in register(root, group):
        raise ChromTransferError(f"{target}: is there, but Kipoi cannot list it; the warning says why.")
    return True


def check_works(folder: Path, weights_sha256: str) -> None:
    """Refuse a model whose card, weights and expectation do not belong together.

    Raises
    ------
    ChromTransferError
    """
    try:
        card = read_card(folder)
        if card.weights_sha256 != weights_sha256:
            raise ChromTransferError(
                f"{folder / CARD}: belongs to other weights, SHA-256 {card.weights_sha256 or 'unknown'}."
            )
        presentation(card)
        check_expectation(folder / EXPECTATION, load_model(folder).model, card)
    except MemoryError as error:
        raise ChromTransferError(f"{folder}: cannot be read ({type(error).__name__}).") from error
