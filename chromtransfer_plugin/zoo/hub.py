"""Models shared in a repository of the Hugging Face Hub: read by plain downloads, written by one commit."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from chromtransfer_plugin.download import download
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.web import ChangedError, NotThereError, Patience, check_url, read_text
from chromtransfer_plugin.zoo.remotes import HUB, safe_token
from chromtransfer_plugin.zoo.shared import (
    INDEX,
    MOST_INDEX,
    Index,
    SharedFile,
    SharedModel,
    parse_index,
    printed,
)

ENDPOINT = "https://huggingface.co"
ENDPOINT_VARIABLE = "HF_ENDPOINT"  # the Hub's own names
TOKEN_VARIABLE = "HF_TOKEN"
BRANCH = "main"

_PART = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"


class HubRemote:
    """A model repository of the Hub.

    Parameters
    ----------
    place : str
        ``hf://owner/repository``.
    patience : Patience, optional
        Limits of waiting and trying when reading.
    writing : bool
        Reading needs nothing but the network; writing needs the package ``huggingface_hub``. A saved login, or
        ``HF_TOKEN``, is used for both, and ``HF_ENDPOINT`` names another Hub.

    Raises
    ------
    ChromTransferError
        If the address is another one, or the package is needed and missing.
    """

    piecewise = False

    def __init__(self, place: str, patience: Patience | None = None, writing: bool = False) -> None:
        self.repository = place.removeprefix(HUB).strip("/")
        if not re.fullmatch(rf"{_PART}/{_PART}", self.repository):
            raise ChromTransferError(f"{place}: expected {HUB}owner/repository.")
        self.shown = HUB + self.repository
        self.patience = patience
        self.endpoint = check_url(os.environ.get(ENDPOINT_VARIABLE) or ENDPOINT).rstrip("/")
        self.token = safe_token(self.endpoint, TOKEN_VARIABLE, _saved_token())
        self._api = self._open_api() if writing else None
        self._waiting: dict[str, Path] = {}

    def _open_api(self) -> Any:
        try:
            from huggingface_hub import HfApi
        except ImportError:
            raise ChromTransferError(
                f"{self.shown}: publishing there needs the package huggingface_hub. Install it: "
                "pip install 'chromtransfer-plugin[hub]'"
            ) from None
        return HfApi(endpoint=self.endpoint, token=self.token)

    def read_index(self) -> tuple[Index, str | None]:
        """Give the index and its version."""
        # What will be replaced must be the index of exactly the commit that ours is to follow.
        commit = BRANCH if self._api is None else self._commit()
        if commit is None:
            return Index(), None
        try:
            text = read_text(self._address(INDEX, commit), MOST_INDEX, self.patience, self.token).text
        except NotThereError:
            return Index(), None if self._api is None else commit
        return parse_index(text, f"{self.shown}/{INDEX}"), commit

    def _commit(self) -> str | None:
        """Give the last commit; None if there is no repository yet."""
        from huggingface_hub.errors import RepositoryNotFoundError

        with self._errors():
            try:
                return self._api.repo_info(self.repository, revision=BRANCH).sha  # type: ignore[union-attr]
            except RepositoryNotFoundError:
                return None

    def fetch(self, path: str, target: Path, file: SharedFile) -> None:
        """Copy one file from here, verified."""
        address = self._address(path, BRANCH)
        download(
            address, target, file.expected, max_bytes=file.size, patience=self.patience, token=self.token
        )

    def store(self, name: str, folder: Path, model: SharedModel, replace: bool) -> None:  # noqa: ARG002
        """Only note the files: they go into the commit of the index."""
        self._waiting |= {f"{name}/{file}": folder / file for file in model.files}

    def write_index(self, index: Index, version: str | None) -> None:
        """Commit the files and the index, if the repository is still at that commit."""
        from huggingface_hub import CommitOperationAdd

        with self._errors():
            if version is None:
                self._api.create_repo(self.repository, exist_ok=True)  # type: ignore[union-attr]
            files: dict[str, Path | bytes] = {**self._waiting, INDEX: index.text().encode()}
            self._api.create_commit(  # type: ignore[union-attr]
                self.repository,
                [CommitOperationAdd(path, content) for path, content in files.items()],
                commit_message="Models of chromtransfer-plugin",
                revision=BRANCH,
                parent_commit=version,
            )

    def _address(self, path: str, revision: str) -> str:
        return f"{self.endpoint}/{self.repository}/resolve/{revision}/{quote(path)}"

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn what the package raises, which differs between its versions, into our errors."""
        try:
            yield
        except Exception as error:
            status = getattr(getattr(error, "response", None), "status_code", None)
            if status in (409, 412):
                raise ChangedError(f"{self.shown}: was changed by somebody else in the meantime.") from error
            reason = " ".join(printed(str(error), 300).split())
            raise ChromTransferError(
                f"{self.shown}: the Hub did not take it: {reason}. Are you logged in (`hf auth login`, or {TOKEN_VARIABLE}) "
                "and may you write there?"
            ) from error


def _saved_token() -> str | None:
    try:
        from huggingface_hub import get_token
    except ImportError:
        return None
    return get_token()
