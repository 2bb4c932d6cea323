"""Artefacts broken at random, as a careless program or a hostile one might: hashes made right."""

from __future__ import annotations

import copy
import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

Files = dict[str, bytes]

JUNK: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 2, 7, 1 << 31, 1 << 62, 1 << 63, 10**30, 0.5, 1e308, -1e308,
    float("nan"), float("inf"), "", "x", "\ud800", "fields", "categorical", "numeric", "sequence",
    "cross", [], {}, [[]], [1, 2], ["x", 0, 0], [["x", 0, 0]], {"x": 1},
)  # fmt: skip
TYPES = {"BOOL": 1, "U8": 1, "I8": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2, "I32": 4, "U32": 4}
TYPES |= {"F32": 4, "F64": 8, "I64": 8, "U64": 8, "F8_E4M3": 1, "C64": 8, "F4": 1}
SIZES = (-1, 0, 1, 2, 3, 5, 1 << 20, 1 << 31, 1 << 40, 1 << 62, 1 << 63, 10**30)


def broken(files: Mapping[str, bytes], draws: np.random.Generator) -> Files:
    """Return a folder's files after one to three changes."""
    out = dict(files)
    for _ in range(int(draws.integers(1, 4))):
        name = str(draws.choice(sorted(out)))
        if name.endswith(".json"):
            out[name] = _json(out[name], draws)
        elif name.endswith(".zlib"):
            out[name] = _deflated(out[name], draws)
        else:
            out[name] = _tensors(out[name], draws)
        if draws.random() < 0.1:
            out[name] = _bytes(out[name], draws)
    return rehashed(out) if draws.random() < 0.95 else out


def rehashed(files: Files) -> Files:
    """Return the files with every hash right again, if the configuration can still hold them."""
    try:
        config = json.loads(files["config.json"])
        hashes = {
            n: hashlib.sha256(files[n]).hexdigest() for n in config.pop("sha256") if n in files
        }
        own = json.dumps(config, sort_keys=True).encode()
        hashes["config.json"] = hashlib.sha256(own).hexdigest()
        return {**files, "config.json": json.dumps({**config, "sha256": hashes}).encode()}
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError):
        return files


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every container and key of a JSON tree."""
    keys = tree if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    for key in keys:
        yield tree, key
        yield from _places(tree[key])


def _json(data: bytes, draws: np.random.Generator) -> bytes:
    try:
        tree = json.loads(data)
    except ValueError:
        return data
    places = list(_places(tree))
    if not places:
        return data
    holder, key = places[int(draws.integers(len(places)))]
    junk = copy.deepcopy(JUNK[int(draws.integers(len(JUNK)))])
    match int(draws.integers(5)):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, dict):
            holder[f"{key}."] = junk
        case 1:
            holder.append(copy.deepcopy(holder[key]))
        case 2:
            other, place = places[int(draws.integers(len(places)))]
            if isinstance(other, list) or place in other:
                holder[key] = (
                    copy.deepcopy(other[place])
                    if place in range(len(other)) or isinstance(other, dict)
                    else junk
                )
        case _:
            holder[key] = junk
    return json.dumps(tree).encode()


def _deflated(data: bytes, draws: np.random.Generator) -> bytes:
    try:
        return zlib.compress(_tensors(zlib.decompress(data), draws))
    except zlib.error:
        return data


def _tensors(data: bytes, draws: np.random.Generator) -> bytes:
    try:
        size = int.from_bytes(data[:8], "little")
        header, body = json.loads(data[8 : 8 + size]), data[8 + size :]
        names = [n for n in header if n != "__metadata__"]
        name = str(draws.choice(names))
        about = header[name]
        first, last, _ = slice(*about["data_offsets"]).indices(len(body))
        last = max(first, last)  # a former change may have turned them round
        for n in names:  # changed before, it may be no header any more
            (
                len(header[n]["dtype"]),
                len(header[n]["shape"]),
                body[slice(*header[n]["data_offsets"])],
            )
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError):
        return data
    match int(draws.integers(7)):
        case 0:
            return packed(_rebuilt(header, body, name, None))
        case 1:
            renamed = {(f"{n}x" if n == name else n): a for n, a in header.items()}
            return _joined(renamed, body)
        case 2:  # the same bytes under another type, or the shape that they then have
            about["dtype"] = str(draws.choice(sorted(TYPES)))
            if draws.random() < 0.7:
                about["shape"] = [(last - first) // TYPES[about["dtype"]]]
            return _joined(header, body)
        case 3:
            about["shape"] = [SIZES[i] for i in draws.integers(0, len(SIZES), draws.integers(0, 4))]
            return _joined(header, body)
        case 4:
            about["data_offsets"] = [SIZES[i] for i in draws.integers(0, len(SIZES), 2)]
            return _joined(header, body)
        case 5:  # other contents
            new = draws.integers(0, 256, last - first).astype(np.uint8).tobytes()
            if draws.random() < 0.5:
                filler = [b"\xff", b"\x00", b"\x7f", b"\x80\x7f\x00\x00"][int(draws.integers(4))]
                new = (filler * (last - first))[: last - first]
            return _joined(header, body[:first] + new + body[last:])
        case _:  # another sound tensor in its place
            dtype = str(draws.choice([t for t in TYPES if t not in ("F4", "C64")]))
            shape = [int(n) for n in draws.integers(0, 4, draws.integers(0, 4))]
            content = draws.integers(0, 256, TYPES[dtype] * int(np.prod(shape))).astype(np.uint8)
            return packed(_rebuilt(header, body, name, (dtype, shape, content.tobytes())))


Pieces = dict[str, tuple[str, list[int], bytes]]


def _rebuilt(header: Any, body: bytes, name: str, new: Any) -> Pieces:
    pieces = {
        n: (a["dtype"], a["shape"], body[slice(*a["data_offsets"])])
        for n, a in header.items()
        if n != "__metadata__"
    }
    del pieces[name]
    return pieces if new is None else {**pieces, name: new}


def packed(pieces: Pieces) -> bytes:
    """Return tensors as a safetensors file, sound if each has the bytes that its shape needs."""
    header, body = {}, b""
    for name, (dtype, shape, content) in pieces.items():
        ends = [len(body), len(body) + len(content)]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": ends}
        body += content
    return _joined(header, body)


def _joined(header: Any, body: bytes) -> bytes:
    head = json.dumps(header).encode()
    return len(head).to_bytes(8, "little") + head + body


def _bytes(data: bytes, draws: np.random.Generator) -> bytes:
    """Return the bytes flipped, cut, extended or repeated somewhere."""
    at = int(draws.integers(len(data) + 1))
    match int(draws.integers(4)):
        case 0:
            return data[:at]
        case 1:
            return data + draws.integers(0, 256, 9).astype(np.uint8).tobytes()
        case 2:
            return data[:at] + data[: at // 2] + data[at:]
        case _:
            return data[:at] + bytes([int(draws.integers(256))]) + data[at + 1 :]
