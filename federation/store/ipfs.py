"""An IPFS daemon with the Kubo RPC as content store, through `ipfshttpclient`.

The daemon is trusted with nothing: the CID of what is added is computed here as well, and content
comes back block by block, each hashed here. `ipfshttpclient` rests since 2021, so all of it stays
in this file, constructed directly (`connect()` refuses today's daemons by their version).
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Iterator
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

import ipfshttpclient
import requests
from ipfshttpclient import exceptions as client_errors

from ..digest import Cid, show_cid
from ..errors import Refused, Unavailable
from .content import BLOCK_BYTES, Absent, verified
from .unixfs import CHUNK_BYTES, cut, is_leaf, walk

PIECE_BYTES: Final = 64 * 1024  # of an answer, read at once
ANSWER_BYTES: Final = BLOCK_BYTES + PIECE_BYTES  # of `block/get`; `verified` is the first to refuse more
MESSAGE_BYTES: Final = 4096  # of most others, all of them JSON: deeper nesting could overflow the parser
SWEPT_BYTES: Final = 8 * 1024 * 1024  # of `repo/gc`, a line a block where the daemon cannot be silent
SWEEP_SECONDS: Final = 600.0  # a daemon with some 100 GB; what is cut off is done again at the next moment
CONNECT_SECONDS: Final = 10.0  # the most for a connection, which is a matter of one round trip
PATIENCE: Final = 1.25  # times the daemon's own, which so gives up first and can say why

LIMITS: Final = MappingProxyType({"block/get": ANSWER_BYTES, "repo/gc": SWEPT_BYTES})
NOT_PINNED: Final = "not pinned"  # in the words of every daemon; there is no code for it

OPTIONS: Final = {
    "cid-version": "1",
    "raw-leaves": "true",
    "chunker": f"size-{CHUNK_BYTES}",
    "pin": "true",
    "cid-base": "base32",
}

# The client hands urllib3 an option that it has outgrown; a warning at every start helps nobody.
warnings.filterwarnings("ignore", "The 'strict' parameter", FutureWarning, "urllib3")


class IpfsStore:
    """A `ContentStore` in the IPFS daemon whose RPC listens at the multiaddr `api`.

    `timeout` (seconds) is the longest silence, not the longest transfer; `sweep` the same while the daemon
    collects what was discarded, for which it looks through all that it has pinned. `authorization` is the
    value of the HTTP header of that name, for a daemon with `API.Authorizations`. What is put is
    pinned. `Refused` if `api` is no address; that somebody listens there shows at the first call.
    """

    def __init__(
        self, api: str, *, timeout: float = 60.0, sweep: float = SWEEP_SECONDS, authorization: str = ""
    ) -> None:
        self._api = api
        self._timeout = timeout
        self._sweep = (min(timeout, CONNECT_SECONDS), sweep)
        headers = {"Accept-Encoding": "identity"} | (
            {"Authorization": authorization} if authorization else {}
        )
        try:
            self._client = ipfshttpclient.Client(
                api,
                session=True,
                chunk_size=CHUNK_BYTES,
                headers=headers,
                timeout=(min(timeout, CONNECT_SECONDS), timeout * PATIENCE),
            )
        except (client_errors.AddressError, ValueError) as error:
            raise Refused(f"expected a multiaddr such as /ip4/127.0.0.1/tcp/5001, found {api!r}") from error
        # The client offers no way to its HTTP session; its version is pinned, and the tests show
        # that the limits hold.
        session = self._client._client._session
        session.hooks["response"].append(_bounded)
        session.trust_env = False  # no proxy and no .netrc between a hospital and its own daemon

    def close(self) -> None:
        """The connections are closed; the store is of no more use."""
        self._client.close()

    def put(self, chunks: Iterable[bytes]) -> Cid:
        """See `ContentStore`; pinned recursively, under the CID computed here."""
        upload = _Upload(chunks)
        try:
            said = self._client.add_bytes(upload.body(), opts=OPTIONS)
        except _FAILURES as error:
            if upload.failure is not None:
                raise upload.failure from None
            raise self._unavailable(error) from error
        if upload.root is None or said != show_cid(upload.root):
            expected = "patience to the last byte" if upload.root is None else show_cid(upload.root)
            raise Unavailable(
                f"the IPFS daemon at {self._api} stored something else: expected {expected}, "
                f"found {_one_line(said)}; look at Import in its configuration, or use another daemon"
            )
        return upload.root

    def get(self, cid: Cid, *, size: int, start: int = 0) -> Iterator[bytes]:
        """See `ContentStore`; the daemon may fetch the blocks from its peers."""
        return walk(cid, self._block, size=size, start=start)

    def has(self, cid: Cid) -> bool:
        """See `ContentStore`; Kubo looks in its own repository only, other daemons may ask their peers."""
        is_leaf(cid)
        try:
            verified(cid, self._pieces(cid, {"offline": "true"}), most=BLOCK_BYTES)
        except Absent:
            return False
        return True

    def discard(self, contents: Collection[Cid], *, kept: Collection[Cid]) -> None:
        """See `ContentStore`: unpinned, then collected by the daemon, with all else that nobody pinned.

        What is pinned as another content stays whole, `kept` or not: the daemon sees to that.
        """
        for cid in set(contents) - set(kept):
            self._unpin(cid)
        if contents:  # also where all were unpinned before: whoever did may have been killed then
            self._collect()

    def _unpin(self, cid: Cid) -> None:
        is_leaf(cid)
        try:
            self._client.pin.rm(show_cid(cid), recursive=True, timeout=self._sweep)
        except client_errors.ErrorResponse as error:
            if NOT_PINNED not in str(error):
                raise self._unavailable(error) from error
        except _FAILURES as error:
            raise self._unavailable(error) from error

    def _collect(self) -> None:
        try:
            self._client.repo.gc(opts={"silent": "true"}, timeout=self._sweep)
        except _FAILURES as error:
            raise self._unavailable(error) from error

    def _block(self, cid: Cid, most: int) -> bytes:
        return verified(cid, self._pieces(cid, {}), most=most)

    def _pieces(self, cid: Cid, opts: dict[str, str]) -> Iterator[bytes]:
        name = show_cid(cid)
        try:
            opts = {"timeout": f"{self._timeout}s", **opts}
            with self._client.block.get(name, opts=opts, stream=True) as pieces:
                yield from pieces
        except client_errors.ErrorResponse as error:
            problem = f"the IPFS daemon at {self._api} has no {name}: {_one_line(error)}"
            raise Absent(problem) from error
        except _FAILURES as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: Exception) -> Unavailable:
        if isinstance(error, client_errors.ConnectionError | client_errors.TimeoutError):
            return Unavailable(
                f"no IPFS daemon answers at {self._api} ({type(error).__name__}): "
                "start it, or correct the address"
            )
        return Unavailable(
            f"the IPFS daemon at {self._api} failed: {type(error).__name__}: {_one_line(error)}"
        )


# Whatever the client lets through when a daemon is away, broken or hostile: its own errors, those
# of requests (all are OSErrors), and what its decoders trip over in an answer of the wrong shape.
_FAILURES: Final = (
    client_errors.Error,
    OSError,
    AssertionError,
    LookupError,
    TypeError,
    ValueError,
    RecursionError,
)


class _Upload:
    """The body of an upload: the file's leaves, whose root CID is known once all are sent."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self.root: Cid | None = None  # before the end
        self.failure: Exception | None = None  # of `chunks`, never of the daemon

    def body(self) -> Iterator[bytes]:
        root = None
        try:
            for block in cut(self._chunks):
                root = block.cid
                if is_leaf(root) and block.data:  # an empty piece would end a chunked body
                    yield block.data
        except Exception as error:
            self.failure = error
            raise
        self.root = root


class _Bounded(requests.Response):
    """An answer that takes bounded memory, however much a hostile daemon sends."""

    def iter_content(self, *_: object, **__: object) -> Iterator[bytes]:
        path = urlsplit(self.url).path
        most = LIMITS.get(path.rpartition("/v0/")[2], MESSAGE_BYTES) if self.ok else MESSAGE_BYTES
        length = 0
        # Never with the caller's chunk size: its None means "at once, all that Content-Length promises".
        for piece in super().iter_content(min(most, PIECE_BYTES)):
            length += len(piece)
            if length > most:
                self.close()
                raise requests.exceptions.ContentDecodingError(f"answer is longer than {most} bytes")
            yield piece


def _bounded(response: requests.Response, **_: object) -> requests.Response:
    """A hook of `requests`, run before anything of the body is read."""
    if response.is_redirect:  # a daemon does not send us elsewhere, least of all with our content
        response.close()
        raise requests.exceptions.TooManyRedirects("answer is a redirection")
    if response.headers.get("Content-Encoding", "identity") != "identity":  # could unpack a thousandfold
        response.close()
        raise requests.exceptions.ContentDecodingError("answer is compressed")
    bounded = _Bounded()
    vars(bounded).update(vars(response))
    return bounded


def _one_line(foreign: object) -> str:
    """Foreign text made fit for a log: one line, printable, short."""
    return "".join(letter for letter in " ".join(str(foreign).split()) if letter.isprintable())[:200]
