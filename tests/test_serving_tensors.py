"""The protocol's tensors: what is packed unpacks to the same, and no claim is believed."""

import base64
import json
import struct
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tellapart.errors import DataError
from tellapart.serving.tensors import DATATYPES, Tensor, pack, to_bytes, unpack

SHAPES = hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4)
NUMBERS = [name for name in DATATYPES if name != "BYTES"]


@st.composite
def numeric(draw):
    datatype = draw(st.sampled_from(NUMBERS))
    return Tensor("x", datatype, draw(hnp.arrays(DATATYPES[datatype], SHAPES)))


@st.composite
def texts(draw):
    values = draw(hnp.arrays(object, SHAPES, elements=st.binary(max_size=20), fill=st.nothing()))
    return Tensor("x", "BYTES", values)


def request(tensor: Tensor, **parameters: object) -> tuple[bytes, str]:
    """One input in binary form, as a client writes it, and the header's value."""
    data = to_bytes(tensor)
    spec = {
        "name": tensor.name,
        "datatype": tensor.datatype,
        "shape": list(tensor.values.shape),
        "parameters": {"binary_data_size": len(data), **parameters},
    }
    head = json.dumps({"inputs": [spec]}).encode()
    return head + data, str(len(head))


def json_request(**members: object) -> bytes:
    spec = {"name": "x", "datatype": "UINT8", "shape": [2], "data": [1, 2], **members}
    return json.dumps({"inputs": [{k: v for k, v in spec.items() if v is not None}]}).encode()


def decode(body: bytes, header: str | None = None) -> np.ndarray:
    [tensor] = unpack(body, header)[1]
    return tensor.decode()


@given(st.one_of(numeric(), texts()))
def test_binary_tensors_come_back_as_they_were_sent(tensor):
    values = decode(*request(tensor))
    assert values.shape == tensor.values.shape
    assert values.dtype == tensor.values.dtype
    np.testing.assert_array_equal(values, tensor.values)


@given(numeric())
def test_numbers_in_json_come_back_as_they_were_sent_flat_or_nested(tensor):
    for data in (tensor.values.tolist(), tensor.values.ravel().tolist()):
        body = json_request(datatype=tensor.datatype, shape=list(tensor.values.shape), data=data)
        np.testing.assert_array_equal(decode(body), tensor.values)


@given(texts())
def test_elements_in_base64_come_back_in_json_and_behind_it(tensor):
    encoded = np.frompyfunc(base64.b64encode, 1, 1)(tensor.values)
    behind = Tensor("x", "BYTES", np.asarray(encoded, object).reshape(tensor.values.shape))
    in_json = [element.decode() for element in behind.values.ravel()]
    body = json_request(datatype="BYTES", shape=list(tensor.values.shape), data=in_json)
    np.testing.assert_array_equal(decode(body), tensor.values)
    np.testing.assert_array_equal(decode(*request(behind, content_type="base64")), tensor.values)


@given(st.lists(st.tuples(st.one_of(numeric(), texts()), st.booleans()), max_size=4))
def test_an_answer_holds_every_output_in_order(outputs):
    # JSON can write neither encoded bytes nor NaN.
    outputs = [
        (t, binary or t.datatype == "BYTES" or not np.isfinite(t.values).all()) for t, binary in outputs
    ]
    body, length = pack({"id": "7"}, outputs)
    message = json.loads(body[:length])
    assert message["id"] == "7"
    at = len(body) if length is None else length
    for (tensor, binary), spec in zip(outputs, message["outputs"], strict=True):
        assert spec["shape"] == list(tensor.values.shape)
        if binary:
            size = spec["parameters"]["binary_data_size"]
            assert body[at : at + size] == to_bytes(tensor)
            at += size
        else:
            found = np.array(spec["data"], tensor.values.dtype).reshape(spec["shape"])
            np.testing.assert_array_equal(found, tensor.values)
    assert at == len(body)


def test_labels_in_json_are_text():
    body, length = pack({}, [(Tensor("label", "BYTES", np.array(["übrig".encode()], object)), False)])
    assert length is None
    assert json.loads(body)["outputs"][0]["data"] == ["übrig"]


@settings(max_examples=300)
@given(st.binary(max_size=200), st.one_of(st.none(), st.text(max_size=12), st.integers(0, 250).map(str)))
def test_any_bytes_unpack_or_raise_a_data_error(body, header):
    with suppress(DataError):
        [tensor.decode() for tensor in unpack(body, header)[1]]


@settings(max_examples=300)
@given(st.one_of(numeric(), texts()), st.data())
def test_a_damaged_request_unpacks_or_raises_a_data_error(tensor, data):
    body, header = request(tensor)
    at = data.draw(st.integers(0, len(body) - 1))
    damaged = body[:at] + data.draw(st.binary(max_size=4)) + body[at + data.draw(st.integers(0, 4)) :]
    with suppress(DataError):
        [each.decode() for each in unpack(damaged, header)[1]]


@pytest.mark.parametrize("header", ["-1", "+1", "1_0", "nine", "", " 4", "٣", "99999", "9" * 5000])
def test_47_a_header_length_that_is_no_length_within_the_body_is_refused(header):
    body, _ = request(Tensor("x", "UINT8", np.zeros(3, np.uint8)))
    with pytest.raises(DataError, match="Inference-Header-Content-Length is"):
        unpack(body, header)


def test_47_a_header_length_inside_the_json_is_refused():
    body, header = request(Tensor("x", "UINT8", np.zeros(3, np.uint8)))
    with pytest.raises(DataError, match="not JSON"):
        unpack(body, str(int(header) - 5))


@pytest.mark.parametrize(
    ("claim", "says"),
    [
        (4, "takes 3 bytes, got 4"),
        (2, "takes 3 bytes, got 2"),
        (99, "claims 99 bytes"),
        (-1, "claims -1 bytes"),
    ],
)
def test_48_a_data_size_that_lies_is_refused(claim, says):
    spec = {"name": "x", "datatype": "UINT8", "shape": [3], "parameters": {"binary_data_size": claim}}
    head = json.dumps({"inputs": [spec]}).encode()
    body = head + bytes(max(0, min(claim, 4)))
    with pytest.raises(DataError, match=says):
        decode(body, str(len(head)))


@pytest.mark.parametrize("claim", [True, 3.0, "3", [3]])
def test_48_a_data_size_of_another_type_is_refused(claim):
    with pytest.raises(DataError, match="'binary_data_size' must be a whole number"):
        unpack(json_request(data=None, parameters={"binary_data_size": claim}), None)


@pytest.mark.parametrize("shape", [[-1], [2, -1], [2**31], [2.0], [True], ["2"], [None], [1] * 9])
def test_49_a_shape_that_is_none_is_refused(shape):
    with pytest.raises(DataError, match="a shape is a list of at most 8 numbers"):
        unpack(json_request(shape=shape), None)


def test_49_a_shape_whose_product_overflows_is_refused():
    with pytest.raises(DataError, match="elements, the data have 2"):
        decode(json_request(shape=[2**31 - 1] * 8))
    body, header = request(Tensor("x", "UINT8", np.zeros(2, np.uint8)))
    grown = body.replace(b'"shape": [2]', b'"shape": [65536, 65536, 65536, 65536]')
    with pytest.raises(DataError, match="got 2"):
        decode(grown, str(int(header) + len(grown) - len(body)))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (struct.pack("<I", 0xFFFFFFFF) + b"abc", "claims 4,294,967,295 bytes, 3 are left"),
        (struct.pack("<I", 4) + b"abc", "claims 4 bytes, 3 are left"),
        (struct.pack("<I", 1) + b"abc", "end inside an element's length"),
        (b"", "has 1 elements, the data have 0"),
        (bytes(4 * 100_000), "has 1 elements, the data have more"),
    ],
)
def test_50_elements_that_lie_about_their_length_are_refused(data, says):
    parameters = {"binary_data_size": len(data)}
    head = json_request(datatype="BYTES", shape=[1], data=None, parameters=parameters)
    with pytest.raises(DataError, match=says):
        decode(head + data, str(len(head)))


@pytest.mark.parametrize(
    ("datatype", "data"),
    [
        ("UINT8", [1, 256]),
        ("UINT8", [1, -1]),
        ("UINT8", [1, 2.0]),
        ("UINT8", [1, True]),
        ("UINT8", [1, None]),
        ("UINT8", [1, "2"]),
        ("UINT8", [1, {}]),
        ("UINT8", [1, [2]]),
        ("UINT8", [[1], 2]),
        ("UINT64", [1, 2**64]),
        ("INT64", [1, -(2**63) - 1]),
        ("FP32", [1, 10**400]),
        ("FP32", [1, "2"]),
        ("BOOL", [1, True]),
        ("BYTES", ["aaaa", 2]),
        ("BYTES", ["aaaa", "no base64!"]),
        ("BYTES", ["aaaa", "äöü="]),
        ("BYTES", ["aaaa", "aaa"]),
    ],
)
def test_52_values_that_are_not_of_the_datatype_are_refused(datatype, data):
    with pytest.raises(DataError, match="input 'x'"):
        decode(json_request(datatype=datatype, data=data))


def test_52_an_unknown_datatype_is_refused_with_those_that_are_known():
    with pytest.raises(DataError, match="'COMPLEX', known are BOOL, UINT8"):
        unpack(json_request(datatype="COMPLEX"), None)


def test_52_one_long_text_among_many_costs_no_memory():
    """NumPy alone would give every element the room of the longest."""
    with pytest.raises(DataError, match="not UINT8"):
        decode(json_request(shape=[200_001], data=["x" * 1_000_000] + [""] * 200_000))


def test_53_bytes_behind_the_last_tensor_are_refused():
    body, header = request(Tensor("x", "UINT8", np.zeros(3, np.uint8)))
    with pytest.raises(DataError, match="2 bytes follow the last input"):
        unpack(body + b"ab", header)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"inputs": [' + b"9" * 5000,
    ],
)
def test_what_is_no_json_object_is_refused(body):
    with pytest.raises(DataError, match=r"not JSON|must be a JSON object"):
        unpack(body, None)


@pytest.mark.parametrize("value", ["7", "[]", "{}", "[7,8,9]"])
def test_many_values_in_json_are_refused_before_they_are_parsed(value):
    body = json_request(data=["VALUES"]).replace(b'"VALUES"', ",".join([value] * 1_000_001).encode())
    with pytest.raises(DataError, match="more than 1,000,000 values in JSON"):
        unpack(body, None)


def test_many_inputs_are_refused():
    with pytest.raises(DataError, match="17 inputs, accepted are at most 16"):
        unpack(json.dumps({"inputs": [{}] * 17}).encode(), None)


def test_data_nested_deeply_are_flattened_without_a_deep_stack():
    data = 7
    for _ in range(900):
        data = [data]
    assert decode(json_request(shape=[1], data=data)).tolist() == [7]


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({"name": None}, "every input needs 'name'"),
        ({"shape": None}, "every input needs 'name'"),
        ({"data": None}, "neither 'data' nor"),
        ({"data": 7}, "'data' must be a list, got int"),
        ({"name": 7}, "'name' must be a string, got int"),
        ({"parameters": []}, "'parameters' must be a JSON object, got list"),
        ({"parameters": {"shared_memory_region": "r"}}, "shared memory"),
    ],
)
def test_an_incomplete_input_is_refused_in_words(members, says):
    with pytest.raises(DataError, match=says):
        unpack(json_request(**members), None)


@pytest.mark.parametrize("inputs", ["x", {}, [1], [None]])
def test_inputs_that_are_no_list_of_objects_are_refused(inputs):
    with pytest.raises(DataError, match="'inputs' must be"):
        unpack(json.dumps({"inputs": inputs}).encode(), None)
