"""HTTP with limits: where a request may go, how long it may take, what is tried again."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar
from urllib.parse import urljoin, urlsplit

import chromtransfer_plugin
from chromtransfer_plugin.errors import ChromTransferError

if TYPE_CHECKING:
    import requests

T = TypeVar("T")

_TRY_AGAIN = {408, 429, 500, 502, 503, 504}
_LONGEST_WAIT = 60.0  # s
_REDIRECTS = 5


@dataclass(frozen=True)
class Patience:
    """How long to wait and how often to try.

    Attributes
    ----------
    connect, read : float
        Seconds until a connection, or the next bytes on it, must have come.
    tries : int
        Attempts in a row without progress before giving up.
    wait : float
        Seconds before the second attempt; doubled before each further one.
    """

    connect: float = 15.0
    read: float = 60.0
    tries: int = 4
    wait: float = 1.0


class Text(NamedTuple):
    """A small text file of a server; ``etag`` names this version of it, "" if the server does not say."""

    text: str
    etag: str


class NotThereError(ChromTransferError):
    """The server has no such file (404 or 410)."""


class ChangedError(ChromTransferError):
    """What was to be replaced is not what was read before (412)."""


class TryAgainError(Exception):
    """An attempt failed for a reason that may pass; ``wait`` is what the server asked for, in seconds."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


def is_url(place: str) -> bool:
    """Whether a place is given as a URL, of whatever kind, and not as a path."""
    return "://" in place


def check_url(url: str) -> str:
    """Return an http(s) URL as it is.

    Raises
    ------
    ChromTransferError
        If it is of another kind or names no server.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets that do not close, a port that is no port
        usable = False
    if not usable:
        raise ChromTransferError(f"{shown(url)}: not usable, expected a URL like https://server/folder.")
    return url


def shown(url: str) -> str:
    """Return a URL for messages and records: without a name and password in it."""
    return re.sub(r"(?<=://)[^/?#]*@", "", url)


def open_session(token: str | None = None) -> requests.Session:
    """Return a session that follows few redirects, to http(s) only and never from https to http.

    Parameters
    ----------
    token : str, optional
        Sent as ``Authorization: Bearer``; not to another server that the first one redirects to.
    """
    import requests

    class Session(requests.Session):
        def get_redirect_target(self, resp: requests.Response) -> str | None:
            target = super().get_redirect_target(resp)
            if target is None:
                return None
            came_from = urlsplit(resp.url).scheme
            try:
                scheme = urlsplit(urljoin(resp.url, target)).scheme
            except ValueError:
                scheme = "none that can be read"
            if scheme not in ("http", "https"):
                why = "only http and https are followed"
            elif came_from == "https" and scheme == "http":
                why = "a redirect from https to http is not followed"
            else:
                return target
            raise ChromTransferError(
                f"{shown(resp.url)}: the server redirects to {shown(target)}; {why}. Use another server (--url)."
            )

    def bearer(request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {token}"
        return request

    session = Session()
    session.max_redirects = _REDIRECTS
    session.headers["User-Agent"] = f"chromtransfer-plugin/{chromtransfer_plugin.__version__}"
    # As authorisation, not as a header: requests would replace a header by what ~/.netrc says.
    session.auth = bearer if token else None
    return session


def check_status(response: requests.Response) -> None:
    """Raise for an answer that is no success.

    Raises
    ------
    TryAgainError
        If another attempt may succeed.
    ChromTransferError
        If it will not; NotThereError for 404 and 410.
    """
    status = response.status_code
    if status < 300:
        return
    url, text = shown(response.url), f"HTTP {status} {response.reason or ''}".rstrip()
    if status in _TRY_AGAIN:
        asked = response.headers.get("Retry-After", "")
        raise TryAgainError(text, min(float(asked), _LONGEST_WAIT) if asked.isdecimal() else 0.0)
    if status in (404, 410):
        raise NotThereError(f"{url}: the server has no such file ({text}). Check the address, or --url.")
    if status == 412:
        raise ChangedError(f"{url}: was changed by somebody else in the meantime. Try again.")
    if status in (401, 403):
        raise ChromTransferError(f"{url}: the server refuses access ({text}). It may want a token.")
    raise ChromTransferError(f"{url}: the server answered {text}, which is not understood here.")


@contextmanager
def network_errors(url: str) -> Iterator[None]:
    """Turn what requests and urllib3 raise into errors of this module."""
    import requests
    import urllib3

    try:
        yield
    except requests.TooManyRedirects:
        raise ChromTransferError(
            f"{shown(url)}: the server redirects more than {_REDIRECTS} times. Use another server (--url)."
        ) from None
    except requests.exceptions.SSLError as error:
        raise ChromTransferError(
            f"{shown(url)}: the server's certificate is not trusted ({error})."
        ) from error
    except (requests.Timeout, urllib3.exceptions.TimeoutError):
        raise TryAgainError("the server did not answer in time") from None
    except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
        raise TryAgainError(f"the connection failed ({_cause(error)})") from error
    except urllib3.exceptions.DecodeError as error:
        raise ChromTransferError(f"{shown(url)}: the server's compression is broken ({error}).") from error
    except urllib3.exceptions.HTTPError as error:
        raise TryAgainError(f"the connection was cut ({_cause(error)})") from error
    except requests.RequestException as error:
        raise ChromTransferError(f"{shown(url)}: {error}.") from error


def _cause(error: BaseException) -> str:
    """Give the innermost reason, e.g. ``Connection refused``, without the layers around it."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def persist(url: str, attempt: Callable[[], T], progress: Callable[[], int], patience: Patience) -> T:
    """Call ``attempt`` until it does not raise :class:`TryAgainError`, waiting longer and longer in between.

    Parameters
    ----------
    url : str
        For messages.
    attempt : callable
        What to try.
    progress : callable
        Gives the most bytes reached so far; an attempt that raises it does not count as failed.
    patience : Patience
        How often, and how long to wait.

    Raises
    ------
    ChromTransferError
        When patience is at its end.
    """
    from tqdm import tqdm

    failed, reached = 0, progress()
    while True:
        try:
            with network_errors(url):
                return attempt()
        except TryAgainError as error:
            failed = 1 if progress() > reached else failed + 1
            reached = max(reached, progress())
            if failed >= patience.tries:
                raise ChromTransferError(
                    f"{shown(url)}: given up after {failed} attempts without progress: {error}. Run the same command "
                    "again later, or use another server (--url)."
                ) from error
            wait = min(max(patience.wait * 2 ** (failed - 1), error.wait), _LONGEST_WAIT)
            tqdm.write(f"{shown(url)}: {error}; trying again in {wait:.0f} s", file=sys.stderr)
            time.sleep(wait)


def read_text(url: str, max_bytes: int, patience: Patience | None = None, token: str | None = None) -> Text:
    """Return a small UTF-8 file of a server.

    Raises
    ------
    ChromTransferError
        If it cannot be had, is larger than ``max_bytes`` or is not text; NotThereError if there is none.
    """
    patience = patience or Patience()
    check_url(url)

    def attempt() -> Text:
        timeout = (patience.connect, patience.read)
        with session.get(url, stream=True, timeout=timeout) as response:
            check_status(response)
            body = b""
            for piece in response.raw.stream(1 << 16, decode_content=True):
                body += piece
                if len(body) > max_bytes:
                    raise ChromTransferError(
                        f"{shown(url)}: refused, it has more than {max_bytes:,} bytes, the most that is taken."
                    )
            try:
                return Text(body.decode("utf-8"), response.headers.get("ETag", ""))
            except UnicodeDecodeError as error:
                raise ChromTransferError(f"{shown(url)}: expected a text file ({error}).") from error

    with open_session(token) as session:
        return persist(url, attempt, lambda: 0, patience)


def put(
    url: str,
    source: Path,
    patience: Patience | None = None,
    token: str | None = None,
    etag: str | None = None,
) -> None:
    """Upload a file by HTTP PUT; missing folders above it are made where the server wants that (WebDAV).

    Parameters
    ----------
    url, source
        Where to and what.
    patience, token
        As :func:`read_text`.
    etag : str, optional
        Replace only this version; "" for: only if there is none. None does not care.

    Raises
    ------
    ChromTransferError
        If the server does not take it; ChangedError if it holds another version.
    """
    patience = patience or Patience()
    headers = {"Content-Type": "application/octet-stream"}
    if etag is not None:
        headers |= {"If-Match": etag} if etag else {"If-None-Match": "*"}

    def send() -> requests.Response:
        with source.open("rb") as body:
            return session.put(
                url,
                data=body,
                headers=headers,
                timeout=(patience.connect, patience.read),
                allow_redirects=False,
            )

    def attempt() -> None:
        response = send()
        if response.status_code == 409:
            above = url.rsplit("/", 1)[0]
            for folder in (above.rsplit("/", 1)[0], above):
                session.request(
                    "MKCOL", f"{folder}/", timeout=(patience.connect, patience.read), allow_redirects=False
                )
            response = send()
        check_status(response)

    with open_session(token) as session:
        persist(url, attempt, lambda: 0, patience)
