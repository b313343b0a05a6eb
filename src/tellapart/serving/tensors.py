"""Tensors of the Open Inference Protocol v2: written inside JSON, or as raw bytes behind it.

A request in binary form is the JSON, whose length a header tells, and then the tensors' bytes in the
order of the inputs: little-endian, row-major. An element of a BYTES tensor is its length as a uint32 and
then the bytes themselves. Every number in a request is a claim, checked against the bytes that came.
"""

import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.errors import DataError
from tellapart.serving.documents import decode_base64, parse, write

HEADER = "Inference-Header-Content-Length"
"""Name of the HTTP header that tells where the JSON ends and the tensors begin."""

DATATYPES = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "BYTES": np.dtype("O"),
}
"""The protocol's names and how NumPy reads them."""

MAX_RANK, MAX_EDGE = 8, 2**31 - 1
"""Bounds on a shape, so that even its product is cheap to take."""

MAX_INPUTS = 16
"""In one request."""

MAX_JSON_VALUES = 1_000_000
"""In one request: parsing more would hold up all others for too long. Raw bytes have no such limit."""

_ACCEPTED: dict[str, set[type]] = {"b": {bool}, "u": {int}, "i": {int}, "f": {int, float}}
"""Types of JSON values by NumPy's kind of number; a bool is no number here."""

_LENGTH = struct.Struct("<I")


@dataclass(frozen=True, eq=False, slots=True)
class Tensor:
    """A named array.

    Attributes
    ----------
    name, datatype
        As the protocol calls them.
    values
        Of any shape; the elements of BYTES are bytes, in an array of dtype object.
    """

    name: str
    datatype: str
    values: NDArray[Any]


@dataclass(frozen=True, eq=False, slots=True)
class WireTensor:
    """A tensor of a request whose data are still as they came, so that a wrong one costs nothing.

    Attributes
    ----------
    name, datatype, shape
        As the request claims them; `datatype` is one of `DATATYPES`.
    payload
        Raw bytes, or the list that stood in the JSON.
    base64
        Whether the elements of a BYTES tensor are base64 text. In JSON they always are, for JSON cannot
        hold the bytes of an image.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    payload: memoryview | list[Any]
    base64: bool

    def decode(self) -> NDArray[Any]:
        """Return the values in the tensor's shape.

        Raises
        ------
        DataError
            If the data do not have the claimed datatype and shape.
        """
        try:
            if self.datatype == "BYTES":
                return self._decode_elements()
            if isinstance(self.payload, memoryview):
                return self._decode_numbers(self.payload)
            return self._convert_numbers(self.payload)
        except DataError as exc:
            raise DataError(f"input {short(self.name)}: {exc}") from exc

    @property
    def _size(self) -> int:
        return math.prod(self.shape)

    def _decode_numbers(self, payload: memoryview) -> NDArray[Any]:
        dtype = DATATYPES[self.datatype]
        expected = self._size * dtype.itemsize
        if len(payload) != expected:
            raise DataError(
                f"shape {list(self.shape)} of {self.datatype} takes {expected:,} bytes, got {len(payload):,}"
            )
        return np.frombuffer(payload, dtype).reshape(self.shape)

    def _convert_numbers(self, payload: list[Any]) -> NDArray[Any]:
        flat = _flattened(payload)
        self._expect(len(flat))
        dtype = DATATYPES[self.datatype]
        if not _ACCEPTED[dtype.kind].issuperset(map(type, flat)):
            raise DataError(f"some of the values are not {self.datatype}")
        try:
            with np.errstate(over="ignore"):  # too large for FP16 becomes infinite, as in C
                return np.array(flat, dtype).reshape(self.shape)
        except OverflowError as exc:
            raise DataError(f"some of the values do not fit into {self.datatype}") from exc

    def _decode_elements(self) -> NDArray[Any]:
        if isinstance(self.payload, memoryview):
            # One more than there may be is enough to refuse; each takes four bytes at least.
            enough = min(self._size, len(self.payload) // _LENGTH.size) + 1
            elements: Sequence[Any] = list(islice(_elements(self.payload), enough))
        else:
            elements = _flattened(self.payload)
        self._expect(len(elements))
        values = np.empty(len(elements), object)
        for index, element in enumerate(elements):
            values[index] = _from_base64(index, element) if self.base64 else element
        return values.reshape(self.shape)

    def _expect(self, found: int) -> None:
        if found != self._size:
            number = f"{found:,}" if found < self._size else "more"
            raise DataError(f"shape {list(self.shape)} has {self._size:,} elements, the data have {number}")


def unpack(body: bytes, header: str | None) -> tuple[dict[str, Any], list[WireTensor]]:
    """Take a request apart.

    Parameters
    ----------
    body
        The whole body.
    header
        Value of the header `HEADER`; None where the body is JSON throughout.

    Returns
    -------
    The JSON object, and its inputs.

    Raises
    ------
    DataError
        If it is no such request: not JSON, or sizes that do not agree with the body's.
    """
    end = len(body) if header is None else _json_length(header, len(body))
    message = _parse(body[:end])
    rest = memoryview(body)[end:]
    specs = listed(message, "inputs")
    if len(specs) > MAX_INPUTS:
        raise DataError(f"{len(specs):,} inputs, accepted are at most {MAX_INPUTS}")
    tensors = []
    for spec in specs:
        tensor, rest = _take(spec, rest)
        tensors.append(tensor)
    if rest:
        raise DataError(f"{len(rest):,} bytes follow the last input; does binary_data_size say too little?")
    return message, tensors


def pack(message: dict[str, Any], outputs: Iterable[tuple[Tensor, bool]]) -> tuple[bytes, int | None]:
    """Put an answer together.

    Parameters
    ----------
    message
        The JSON object, without its outputs.
    outputs
        Each with whether it goes behind the JSON as raw bytes.

    Returns
    -------
    The body, and the JSON's length where raw bytes follow it.
    """
    specs, chunks = [], []
    for tensor, binary in outputs:
        spec: dict[str, Any] = {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": list(tensor.values.shape),
        }
        if binary:
            chunks.append(to_bytes(tensor))
            spec["parameters"] = {"binary_data_size": len(chunks[-1])}
        else:
            flat = tensor.values.ravel().tolist()
            spec["data"] = [element.decode() for element in flat] if tensor.datatype == "BYTES" else flat
        specs.append(spec)
    text = write({**message, "outputs": specs})
    return b"".join([text, *chunks]), len(text) if chunks else None


def to_bytes(tensor: Tensor) -> bytes:
    """Return the tensor's data in binary form."""
    if tensor.datatype == "BYTES":
        elements: list[bytes] = tensor.values.ravel().tolist()
        return b"".join(chain.from_iterable((_LENGTH.pack(len(e)), e) for e in elements))
    return tensor.values.astype(DATATYPES[tensor.datatype], copy=False).tobytes()


def member(spec: dict[str, Any], name: str, kind: type, default: Any = None) -> Any:
    """Return ``spec[name]``, which must be of type `kind`, or `default` where it is absent.

    Raises
    ------
    DataError
        If it is of another type.
    """
    value = spec.get(name, default)
    if value is not default and type(value) is not kind:
        raise DataError(f"{name!r} must be {_KINDS[kind]}, got {type(value).__name__}")
    return value


def listed(message: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Return ``message[name]``: a list of JSON objects, empty where it is absent.

    Raises
    ------
    DataError
        If it is something else.
    """
    specs = member(message, name, list, [])
    if not all(type(spec) is dict for spec in specs):
        raise DataError(f"{name!r} must be a list of JSON objects")
    return list(specs)


def short(value: object) -> str:
    """Return what a request held, as a message may repeat it."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


_KINDS = {
    dict: "a JSON object",
    list: "a list",
    str: "a string",
    int: "a whole number",
    bool: "true or false",
}


def _json_length(header: str, n_bytes: int) -> int:
    # Ten digits at most: int() of a header full of digits is work that an attacker would get for free.
    if not (header.isascii() and header.isdigit() and len(header) <= 10 and int(header) <= n_bytes):
        raise DataError(f"{HEADER} is {header[:40]!r}, accepted are 0 to {n_bytes}, the body's length")
    return int(header)


def _parse(text: bytes) -> dict[str, Any]:
    message = parse(text, max_values=MAX_JSON_VALUES, instead="send the tensor's bytes behind it")
    if not isinstance(message, dict):
        raise DataError(f"the request must be a JSON object, got {type(message).__name__}")
    return message


def _take(spec: dict[str, Any], rest: memoryview) -> tuple[WireTensor, memoryview]:
    """Read one input's description, and cut its data off the bytes behind the JSON."""
    name, datatype = member(spec, "name", str), member(spec, "datatype", str)
    edges = member(spec, "shape", list)
    if name is None or datatype is None or edges is None:
        raise DataError("every input needs 'name', 'datatype', 'shape' and its data")
    if datatype not in DATATYPES:
        raise DataError(
            f"input {short(name)} has datatype {short(datatype)}, known are {', '.join(DATATYPES)}"
        )
    shape = _shape(name, edges)
    parameters = member(spec, "parameters", dict, {})
    if "shared_memory_region" in parameters:
        raise DataError(f"input {short(name)} is in shared memory; send its data in the request")
    is_base64 = parameters.get("content_type") == "base64"
    n_bytes = member(parameters, "binary_data_size", int)
    if n_bytes is None:
        data = member(spec, "data", list)
        if data is None:
            raise DataError(f"input {short(name)} has neither 'data' nor parameters.binary_data_size")
        return WireTensor(name, datatype, shape, data, base64=True), rest
    if not 0 <= n_bytes <= len(rest):
        raise DataError(
            f"input {short(name)} claims {n_bytes:,} bytes, {len(rest):,} are left behind the JSON "
            f"(whose length the header {HEADER} tells)"
        )
    return WireTensor(name, datatype, shape, rest[:n_bytes], is_base64), rest[n_bytes:]


def _shape(name: str, edges: list[Any]) -> tuple[int, ...]:
    if len(edges) > MAX_RANK or not all(type(edge) is int and 0 <= edge <= MAX_EDGE for edge in edges):
        raise DataError(
            f"input {short(name)}: a shape is a list of at most {MAX_RANK} numbers from 0 to {MAX_EDGE}"
        )
    return tuple(edges)


def _elements(payload: memoryview) -> Iterable[bytes]:
    offset = 0
    while offset < len(payload):
        start = offset + _LENGTH.size
        if start > len(payload):
            raise DataError("the data end inside an element's length")
        offset = start + _LENGTH.unpack_from(payload, start - _LENGTH.size)[0]
        if offset > len(payload):
            raise DataError(f"an element claims {offset - start:,} bytes, {len(payload) - start:,} are left")
        yield bytes(payload[start:offset])


def _flattened(data: list[Any]) -> list[Any]:
    """Return nested lists, all equally deep, as one list: level by level, so that depth costs no stack."""
    while data and type(data[0]) is list:
        if not all(type(part) is list for part in data):
            raise DataError("the data are lists and values side by side")
        data = list(chain.from_iterable(data))
    return data


def _from_base64(index: int, element: Any) -> bytes:
    if isinstance(element, str | bytes):
        try:
            return decode_base64(element)
        except DataError:
            pass
    raise DataError(f"element {index} is not base64, as which JSON carries an image")
