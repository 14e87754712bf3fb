"""Deterministic CBOR (RFC 8949 §4.2), the part of it that our formats use, and nothing else.

Integers below 2^64, byte strings, ASCII text, arrays, and maps with increasing unsigned keys. There
is one encoding for each value, and `decode` accepts that one only: it refuses the longer forms
of integers, indefinite lengths, tags, floats, duplicate or unsorted keys, and trailing bytes
while it reads, so no hostile input is ever built into an object (PROTOCOL §2.3).
"""

from __future__ import annotations

from typing import Final

from .errors import Refused, Violation

Value = int | bytes | str | list["Value"] | dict[int, "Value"]

MAX_DEPTH: Final = 4  # nested arrays and maps
_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP = range(6)  # major types
_ARGUMENT_WIDTH: Final = {24: 1, 25: 2, 26: 4, 27: 8}  # bytes behind the initial byte


def encode(value: Value) -> bytes:
    """The one encoding of `value`; raises `Refused` for what our formats cannot hold."""
    match value:
        case bool():
            raise Refused("CBOR: booleans are not part of our formats")
        case int() if 0 <= value < 1 << 64:
            return _head(_UNSIGNED, value)
        case int() if -(1 << 64) <= value < 0:
            return _head(_NEGATIVE, -1 - value)
        case bytes():
            return _head(_BYTES, len(value)) + value
        case str():
            text = value.encode("ascii", "strict") if value.isascii() else _not_ascii(value)
            return _head(_TEXT, len(text)) + text
        case list():
            return _head(_ARRAY, len(value)) + b"".join(map(encode, value))
        case dict():
            if not all(type(key) is int and key >= 0 for key in value):
                raise Refused(f"CBOR: expected maps with unsigned keys, found {sorted(map(repr, value))}")
            pairs = sorted(value.items())
            return _head(_MAP, len(pairs)) + b"".join(encode(k) + encode(v) for k, v in pairs)
        case _:
            raise Refused(f"CBOR: expected an integer below 2^64, bytes, text, list or map, found {value!r}")


def decode(data: bytes, *, limit: int) -> Value:
    """The value whose encoding is `data`; raises `Violation` for anything but one canonical item.

    `limit` is the most bytes that are looked at, checked first.
    """
    if len(data) > limit:
        raise _refusal(0, f"at most {limit} bytes", f"{len(data)} bytes")
    value, end = _item(data, 0, 0)
    if end != len(data):
        raise _refusal(end, "the end", f"{len(data) - end} trailing bytes")
    return value


def _head(major: int, argument: int) -> bytes:
    if argument < 24:
        return bytes([major << 5 | argument])
    for info, width in _ARGUMENT_WIDTH.items():
        if argument < 1 << 8 * width:
            return bytes([major << 5 | info]) + argument.to_bytes(width, "big")
    raise Refused(f"CBOR: {argument} needs more than 64 bits")


def _item(data: bytes, start: int, depth: int) -> tuple[Value, int]:
    major, argument, position = _read_head(data, start)
    match major:
        case 0:
            return argument, position
        case 1:
            return -1 - argument, position
        case 2:
            return _take(data, position, argument)
        case 3:
            raw, end = _take(data, position, argument)
            if not raw.isascii():
                raise _refusal(position, "ASCII text", "other bytes")
            return raw.decode("ascii"), end
        case _ if depth >= MAX_DEPTH:
            raise _refusal(start, f"at most {MAX_DEPTH} levels", "one more")
        case 4:
            return _array(data, position, argument, depth + 1)
        case 5:
            return _map(data, position, argument, depth + 1)
        case _:
            raise _refusal(start, "an integer, string, array or map", f"major type {major}")


def _array(data: bytes, position: int, count: int, depth: int) -> tuple[list[Value], int]:
    items: list[Value] = []
    for _ in range(count):  # a false count ends at the first missing byte
        item, position = _item(data, position, depth)
        items.append(item)
    return items, position


def _map(data: bytes, position: int, count: int, depth: int) -> tuple[dict[int, Value], int]:
    pairs: dict[int, Value] = {}
    last = -1
    for _ in range(count):
        start = position
        key, position = _item(data, position, depth)
        if not isinstance(key, int) or key <= last:
            raise _refusal(start, f"an unsigned key above {last}", repr(key))
        pairs[key], position = _item(data, position, depth)
        last = key
    return pairs, position


def _read_head(data: bytes, start: int) -> tuple[int, int, int]:
    if start >= len(data):
        raise _refusal(start, "one more item", "the end")
    major, info = data[start] >> 5, data[start] & 31
    if info < 24:
        return major, info, start + 1
    width = _ARGUMENT_WIDTH.get(info)
    if width is None:
        raise _refusal(start, "a definite length", f"additional information {info}")
    raw, end = _take(data, start + 1, width)
    argument = int.from_bytes(raw, "big")
    if len(_head(major, argument)) != end - start:
        raise _refusal(start, "the shortest form", f"{width} bytes for {argument}")
    return major, argument, end


def _take(data: bytes, start: int, length: int) -> tuple[bytes, int]:
    if start + length > len(data):
        raise _refusal(start, f"{length} bytes", f"{len(data) - start}")
    return data[start : start + length], start + length


def _refusal(position: int, expected: str, found: str) -> Violation:
    return Violation("§2.3", f"CBOR at byte {position}", expected=expected, found=found)


def _not_ascii(text: str) -> bytes:
    raise Refused(f"CBOR: expected ASCII text, found {text!r}")
