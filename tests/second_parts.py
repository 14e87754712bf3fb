"""The parts of a stranger's verifier (`second_verifier`): hashes, trees, CBOR, boxes, model files.

From PROTOCOL.md alone (§2, §6.3, §8.7); it shares no code with the package.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

T = TypeVar("T")
Shape = Sequence[tuple[str, Sequence[int]]]


class Mismatch(AssertionError):
    """What contradicts the protocol, the clause that says so, and whose doing it is, if that is proven."""

    def __init__(self, clause: str, what: str, leaf: int = 0) -> None:
        super().__init__(f"{clause}: {what}")
        self.clause, self.what, self.leaf = clause, what, leaf
        self.culprit: bytes | None = None


def demand(holds: bool, clause: str, what: str) -> None:
    """Refuse unless it holds."""
    if not holds:
        raise Mismatch(clause, what)


@contextmanager
def blaming(culprit: bytes) -> Iterator[None]:
    """What contradicts the protocol in here is this party's doing."""
    try:
        yield
    except Mismatch as found:
        found.culprit = found.culprit or culprit
        raise


# ---------------------------------------------------------------- §2: hashes, trees, CBOR


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def u64(number: int) -> bytes:
    return number.to_bytes(8, "big")


def labelled(label: str, *parts: bytes) -> bytes:
    """§2.1, H of §7.1."""
    return sha(b"tallystick/1/" + label.encode() + b"\0" + b"".join(u64(len(p)) + p for p in parts))


def xof(label: str, length: int, *parts: bytes) -> bytes:
    """§2.1."""
    return hashlib.shake_128(labelled(label, *parts)).digest(length)


def words(label: str, count: int, *parts: bytes) -> list[int]:
    """§7.1: integers of 128 bits."""
    return numbers(xof(label, 16 * count, *parts), 16)


def derive(secret: bytes, label: str, *parts: bytes) -> bytes:
    """§2.1."""
    return HKDF(SHA256(), 32, salt=bytes(32), info=labelled(label, *parts)).derive(secret)


def cut(data: bytes, width: int) -> list[bytes]:
    return [data[at : at + width] for at in range(0, len(data), width)]


def numbers(data: bytes, width: int) -> list[int]:
    return [int.from_bytes(piece, "big") for piece in cut(data, width)]


def tree_root(leaves: Sequence[bytes]) -> bytes:
    """§2.2: RFC 6962 §2.1."""
    if len(leaves) == 1:
        return sha(b"\0" + leaves[0])
    left = 1 << (len(leaves) - 1).bit_length() - 1
    return sha(b"\1" + tree_root(leaves[:left]) + tree_root(leaves[left:]))


def tree_depth(index: int, size: int) -> int:
    """§2.2: how many hashes an audit path has."""
    if size == 1:
        return 0
    left = 1 << (size - 1).bit_length() - 1
    return 1 + (tree_depth(index, left) if index < left else tree_depth(index - left, size - left))


def tree_top(leaf_hash: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """§2.2: the root that an audit path of the right length leads to (RFC 6962 §2.1.1: from the leaf up)."""
    if size == 1:
        return leaf_hash
    left, (*inner, beside) = 1 << (size - 1).bit_length() - 1, path
    if index < left:
        return sha(b"\1" + tree_top(leaf_hash, index, left, inner) + beside)
    return sha(b"\1" + beside + tree_top(leaf_hash, index - left, size - left, inner))


def _head(major: int, size: int) -> bytes:
    if size < 24:
        return bytes([major << 5 | size])
    power = next(k for k in range(4) if size < 1 << (8 << k))
    return bytes([major << 5 | 24 + power]) + size.to_bytes(1 << power, "big")


def encode(value: object) -> bytes:
    """§2.3: the one encoding of a value."""
    match value:
        case int():
            return _head(0, value) if value >= 0 else _head(1, -1 - value)
        case bytes():
            return _head(2, len(value)) + value
        case str():
            return _head(3, len(value)) + value.encode("ascii")
        case list() | tuple():
            return _head(4, len(value)) + b"".join(map(encode, value))
        case dict():
            return _head(5, len(value)) + b"".join(encode(k) + encode(v) for k, v in sorted(value.items()))
    raise TypeError(value)


def decode(data: bytes) -> object:
    """§2.3: whatever is not the one encoding of its value is refused."""
    value, end = _item(data, 0, 0)
    demand(end == len(data), "§2.3", "trailing bytes")
    demand(encode(value) == data, "§2.3", "not the one encoding of this value")
    return value


def _item(data: bytes, at: int, depth: int) -> tuple[object, int]:
    demand(at < len(data), "§2.3", "cut short")
    major, size, at = data[at] >> 5, data[at] & 31, at + 1
    if size >= 24:
        demand(size < 28 and at + (1 << size - 24) <= len(data), "§2.3", "head")
        at, size = at + (1 << size - 24), int.from_bytes(data[at : at + (1 << size - 24)], "big")
    if major < 2:
        return (-1 - size if major else size), at
    if major < 4:
        demand(at + size <= len(data), "§2.3", "cut short")
        piece = data[at : at + size]
        demand(major == 2 or piece.isascii(), "§2.3", "text is not ASCII")
        return (piece if major == 2 else piece.decode("ascii")), at + size
    demand(major < 6, "§2.3", "tag, float or simple value")
    demand(depth < 4, "§2.3", "more than 4 levels")
    items: list[object] = []
    for _ in range(size * (major - 3)):
        item, at = _item(data, at, depth + 1)
        items.append(item)
    return (items if major == 4 else _map(items)), at


def _map(items: Sequence[object]) -> dict[int, object]:
    keys = [take(key, int, "§2.3") for key in items[::2]]
    demand(all(key >= 0 for key in keys), "§2.3", "key is not unsigned")
    return dict(zip(keys, items[1::2], strict=True))


def take(value: object, kind: type[T], clause: str) -> T:
    """The value, which must be of this very type."""
    if type(value) is not kind:
        raise Mismatch(clause, f"{kind.__name__} expected")
    return value


def listed(value: object, kind: type[T], clause: str, length: int | None = None) -> list[T]:
    """An array of one type."""
    items: list[object] = take(value, list, clause)
    demand(length is None or len(items) == length, clause, "length of an array")
    return [take(item, kind, clause) for item in items]


def fields(data: bytes, keys: Iterable[int], clause: str) -> dict[int, object]:
    """A map with exactly these keys."""
    found: dict[int, object] = take(decode(data), dict, clause)
    demand(set(found) == set(keys), clause, "keys of the map")
    return found


def unseal(key: bytes, ledger: bytes, study: int, round: int, kind: int, box: bytes) -> bytes:
    """§6.3."""
    where = study.to_bytes(4, "big") + round.to_bytes(4, "big")
    context = labelled("sealed", ledger, where, bytes([kind]))
    nonce, commitment = box[:32], box[32:64]
    demand(derive(key, "seal-commitment", nonce, context) == commitment, "§6.3", "commitment of the box")
    try:
        return ChaCha20Poly1305(derive(key, "seal-key", nonce, context)).decrypt(bytes(12), box[64:], context)
    except InvalidTag:
        raise Mismatch("§6.3", "tag of the box") from None


def read_model(shape: Shape, data: bytes) -> bytes:
    """§8.7: the parameters of a safetensors file in the order of the shape, not of the file."""
    least = sum(128 + 6 * len(name) + 20 * len(dimensions) for name, dimensions in shape)
    sizes = {name: 4 * math.prod(dimensions) for name, dimensions in shape}
    demand(len(data) <= 64 + least + sum(sizes.values()), "§8.7", "size of the model")
    start = 8 + int.from_bytes(data[:8], "little")
    try:
        told = json.loads(data[8:start])
        found = {n: (told[n]["dtype"], told[n]["shape"], *told[n]["data_offsets"]) for n in sizes}
        ordered = sorted(sizes, key=lambda name: found[name][2:])
    except (ValueError, TypeError, KeyError):
        raise Mismatch("§8.7", "no such safetensors") from None
    demand(set(told) - {"__metadata__"} == set(sizes), "§8.7", "names of tensors")
    end = 0
    for name in ordered:
        expected = ("F32", list(dict(shape)[name]), end, end + sizes[name])
        demand(found[name] == expected, "§8.7", f"{name}: type, shape or place")
        end += sizes[name]
    demand(len(data) == start + end, "§8.7", "bytes beside the tensors")
    return b"".join(data[start + found[name][2] : start + found[name][3]] for name in sizes)
