"""Values to blobs and back: as they were, without copies, with errors that name the member at fault."""

from __future__ import annotations

import datetime as dt
import math
import pickle
import threading
from collections import OrderedDict, deque
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncflow.errors import BlobDamaged, StoreError, StoreVersionError, UnserializableArtifact
from asyncflow.store import serializers
from asyncflow.store.serializers import (
    ALIGNMENT,
    OUT_OF_BAND,
    Serializer,
    from_buffer,
    item_count,
    pack_items,
    read_item,
    read_item_from,
    register,
    to_blob,
)


class Point(NamedTuple):
    x: int
    y: int


def content(blob):
    return b"".join(blob.parts)


def roundtrip(value):
    return from_buffer(content(to_blob(value, "value")))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary() | st.dates(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner) | st.sets(st.integers())
    ),
    max_leaves=20,
)


@given(values)
def test_a_value_comes_back(value):
    back = roundtrip(value)
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize(
    "value",
    [Point(1, 2), OrderedDict(a=1), deque([1, 2]), Fraction(1, 3), dt.UTC, bytearray(b"x"), range(5), 1 << 5000],
    ids=repr,
)
def test_values_of_the_standard_library_come_back(value):
    assert roundtrip(value) == value


def test_the_key_is_the_hash_of_the_content():
    from hashlib import sha256

    blob = to_blob({"a": np.arange(100_000)}, "value")
    assert blob.key == sha256(content(blob)).digest()
    assert blob.size == len(content(blob))
    assert to_blob({"a": np.arange(100_000)}, "other").key == blob.key


def test_small_values_are_small():
    assert to_blob(5, "value").size < 40
    assert len(to_blob("x" * 100, "value").parts) == 1


# -- buffers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, OUT_OF_BAND - 1, OUT_OF_BAND, OUT_OF_BAND + 1, 100_001])
def test_bytes_of_any_size_come_back(size):
    value = bytes(range(256)) * (size // 256 + 1)
    assert roundtrip(value[:size]) == value[:size]


def test_a_large_array_is_not_copied_on_the_way_in():
    array = np.arange(100_000)
    parts = to_blob([array, "x"], "value").parts
    views = [part for part in parts if isinstance(part, memoryview)]
    assert any(
        np.shares_memory(np.frombuffer(view, array.dtype), array) for view in views if view.nbytes == array.nbytes
    )


def test_a_large_array_is_a_view_of_the_buffer_it_is_loaded_from_and_aligned():
    buffer = bytearray(content(to_blob({"a": np.arange(50_000), "b": np.arange(30_001.0)}, "value")))
    back = from_buffer(memoryview(buffer))
    base = np.frombuffer(buffer, np.uint8).ctypes.data
    for array in back.values():
        assert np.shares_memory(array, np.frombuffer(buffer, np.uint8))
        assert (array.ctypes.data - base) % ALIGNMENT == 0
        assert array.flags.writeable
    back["a"][0] = 77
    assert from_buffer(buffer)["a"][0] == 77


@pytest.mark.parametrize("size", [10, 100_000])
@pytest.mark.parametrize("writable", [True, False])
@pytest.mark.parametrize("source", [bytes, bytearray])
def test_an_array_is_as_writable_as_it_was(size, writable, source):
    array = np.arange(size)
    array.flags.writeable = writable
    back = from_buffer(source(content(to_blob(array, "value"))))
    assert np.array_equal(back, array)
    assert back.flags.writeable is writable


def test_values_of_one_read_only_buffer_do_not_share_memory():
    body = content(to_blob(np.zeros(100_000), "value"))
    first, second = from_buffer(body), from_buffer(body)
    first += 1
    assert second.sum() == 0
    assert from_buffer(body).sum() == 0


@pytest.mark.parametrize(
    "array",
    [
        np.arange(100_000).reshape(100, 1000).T,
        np.arange(200_000)[::2],
        np.zeros((0, 5)),
        np.asfortranarray(np.arange(100_000).reshape(100, 1000)),
        np.array([{"an": "object"}, None]),
        np.full(50_000, math.nan),
    ],
    ids=["transposed", "strided", "empty", "fortran", "objects", "nan"],
)
def test_arrays_of_every_layout_come_back(array):
    back = roundtrip(array)
    assert back.shape == array.shape
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


def test_many_small_arrays_stay_inside_the_pickle():
    blob = to_blob([np.arange(10) for _ in range(1000)], "value")
    assert len(blob.parts) <= 2
    assert blob.size < 250_000


# -- what pickle can't do --------------------------------------------------------------------------


def test_lambdas_closures_and_local_classes_come_back():
    factor = 3

    class Local:
        def __init__(self, x):
            self.x = x

    assert roundtrip(lambda x: x * factor)(2) == 6
    assert roundtrip(Local)(5).x == 5
    assert roundtrip({"object": Local(7)})["object"].x == 7


def test_a_local_function_keeps_its_large_array_out_of_band():
    array = np.arange(100_000)
    blob = to_blob(lambda: array, "value")
    assert any(isinstance(part, memoryview) and part.nbytes == array.nbytes for part in blob.parts)
    assert np.array_equal(from_buffer(content(blob))(), array)


def test_what_lives_in_main_travels_by_value(tmp_path):
    import subprocess
    import sys

    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nfrom asyncflow.store.serializers import pack_items, to_blob\n"
        "class Thing:\n    def __init__(self): self.x = 5\n"
        "def double(x): return 2 * x\n"
        "for blob in (to_blob([Thing(), double], 'value'), pack_items([Thing(), double], 'value')):\n"
        "    sys.stdout.buffer.write(blob.size.to_bytes(8, 'little') + b''.join(blob.parts))\n"
    )
    out = subprocess.run([sys.executable, script], capture_output=True, check=True).stdout
    size = int.from_bytes(out[:8], "little")
    thing, double = from_buffer(out[8 : 8 + size])
    assert thing.x == 5
    assert double(4) == 8
    assert read_item(out[16 + size :], 1)(4) == 8


# -- what nothing can do ---------------------------------------------------------------------------


class Connection:
    def __init__(self):
        self.lock = threading.Lock()


@dataclass(slots=True)
class Slotted:
    fine: int
    bad: object


class Model:
    def __init__(self):
        self.name = "model"
        self.conn = {"a": [1, 2, 3, Connection()]}


class Stateful:
    def __getstate__(self):
        return {"kept": 1, "handle": threading.Lock()}


class BrokenRepr(dict):
    def __repr__(self):
        raise RuntimeError("no repr")


@pytest.mark.parametrize(
    ("value", "path", "type_"),
    [
        (threading.Lock(), "self.model is", "_thread.lock"),
        ([1, threading.Lock()], "self.model[1] is", "_thread.lock"),
        (Model(), "self.model.conn['a'][3].lock is", "_thread.lock"),
        ({"a": {"b": (1, threading.Lock())}}, "self.model['a']['b'][1] is", "_thread.lock"),
        (Slotted(1, threading.Lock()), "self.model.bad is", "_thread.lock"),
        (Stateful(), "self.model.handle is", "_thread.lock"),
        ((x for x in "abc"), "self.model is", "generator"),
        ({threading.Lock()}, "self.model member <unlocked _thread.lock", "_thread.lock"),
        ({threading.Lock(): 1}, "self.model key <unlocked _thread.lock", "_thread.lock"),
    ],
    ids=["itself", "list", "deep", "dicts", "slots", "getstate", "generator", "set", "key"],
)
def test_the_error_names_the_artifact_and_the_path_to_the_member_at_fault(value, path, type_):
    with pytest.raises(UnserializableArtifact) as caught:
        to_blob(value, "model")
    message = str(caught.value)
    assert message.startswith("Artifact 'model' (of type ")
    assert path in message
    assert f"is a {type_}, and pickling it raised TypeError: cannot pickle" in message
    assert "`del self.model`" in message
    assert isinstance(caught.value.__cause__, TypeError | AttributeError | pickle.PicklingError)


def test_a_closure_that_cannot_travel_names_its_variable():
    lock = threading.Lock()
    with pytest.raises(UnserializableArtifact, match=r"closure variable lock is a _thread\.lock"):
        to_blob(lambda: lock, "callback")


def test_a_cycle_ends_the_search():
    value = [threading.Lock()]
    value.insert(0, value)
    with pytest.raises(UnserializableArtifact, match=r"self\.value\[1\] is a _thread\.lock"):
        to_blob(value, "value")


def test_a_member_that_cannot_even_be_shown_does_not_hide_the_error():
    with pytest.raises(UnserializableArtifact, match="Artifact 'value'"):
        to_blob({"x": BrokenRepr(a=threading.Lock())}, "value")


def test_a_reduce_that_raises_is_told_with_its_own_error():
    class Angry:
        def __reduce__(self):
            raise ValueError("I stay here")

    with pytest.raises(UnserializableArtifact, match=r"self\.value\[0\] is a .*Angry.*raised ValueError: I stay here"):
        to_blob([Angry()], "value")


# -- what isn't a value's blob ---------------------------------------------------------------------


def test_other_bytes_are_refused():
    for body in (b"", b"short", b"x" * 100):
        with pytest.raises(StoreError, match="doesn't hold a value"):
            from_buffer(body)


def test_a_newer_format_and_an_unknown_serializer_are_named():
    body = bytearray(content(to_blob(5, "value")))
    body[4] = 9
    with pytest.raises(StoreVersionError, match=r"format 9.*Upgrade asyncflow"):
        from_buffer(body)
    with pytest.raises(StoreError, match="serializer 'nickle', which isn't registered"):
        from_buffer(content(to_blob(5, "value")).replace(b"pickle", b"nickle", 1))


@pytest.mark.parametrize("value", [b"x" * 100_000, "x" * 100_000, np.zeros(100_000)], ids=["bytes", "str", "array"])
def test_a_value_that_is_cut_short_is_refused(value):
    with pytest.raises(BlobDamaged, match="cut short"):
        from_buffer(content(to_blob(value, "value"))[:-1])


def test_a_registered_serializer_writes_and_reads_its_type(monkeypatch):
    monkeypatch.setattr(serializers, "_by_type", dict(serializers._by_type))
    monkeypatch.setattr(serializers, "_by_name", dict(serializers._by_name))
    register(
        Serializer("fraction", lambda f: (str(f).encode(), ()), lambda body, _: Fraction(str(body, "ascii"))), Fraction
    )
    blob = to_blob(Fraction(2, 7), "value")
    assert b"fraction2/7" in content(blob)
    assert from_buffer(content(blob)) == Fraction(2, 7)
    with pytest.raises(ValueError, match="1 to 255"):
        register(Serializer("", lambda _: (b"", ()), lambda *_: None), int)


# -- packed items ----------------------------------------------------------------------------------


@given(st.lists(values, max_size=12))
def test_each_item_of_a_packed_list_is_read_alone(items):
    body = content(pack_items(items, "items"))
    assert item_count(body) == len(items)
    assert [read_item(body, index) for index in range(len(items))] == items
    for index in (-1, len(items)):
        with pytest.raises(IndexError):
            read_item(body, index)


def test_reading_an_item_touches_little_of_the_list():
    body = content(pack_items([b"x" * 1000] * 1000, "items"))
    asked = []

    def read(offset, size):
        asked.append(size)
        return body[offset : offset + size]

    assert read_item_from(read, 500) == b"x" * 1000
    assert sum(asked) < 1200


def test_a_list_that_shares_a_large_object_is_not_packed():
    shared = list(range(100_000))
    assert pack_items([shared] * 100, "items") is None
    assert pack_items([np.zeros(1 << 20)] * 20, "items") is None
    assert pack_items([shared], "items") is not None


def test_a_large_list_that_shares_nothing_is_packed():
    blob = pack_items([f"item {i}" * 10 for i in range(30_000)], "items")
    assert blob.size > serializers.ALLOWANCE
    assert read_item(content(blob), 29_999) == "item 29999" * 10


def test_many_tiny_items_are_packed():
    assert item_count(content(pack_items([None] * 500_000, "items"))) == 500_000


def test_items_that_pickle_cannot_do_travel_by_value():
    body = content(pack_items([lambda: 1, lambda: 2], "items"))
    assert read_item(body, 1)() == 2
    assert pack_items([lambda: 1, "x" * 2_000_000], "items") is not None


def test_an_item_that_cannot_travel_is_named():
    with pytest.raises(UnserializableArtifact, match=r"self\.items\[1\]\['x'\] is a _thread\.lock.*`del self\.items`"):
        pack_items([1, {"x": threading.Lock()}], "items")


def test_a_damaged_item_is_found_without_the_blobs_hash():
    body = bytearray(content(pack_items([b"aaaa", b"bbbb"], "items")))
    body[body.index(b"bbbb")] ^= 1
    assert read_item(body, 0) == b"aaaa"
    with pytest.raises(BlobDamaged, match="Item 1 of this packed list is damaged"):
        read_item(body, 1)
    with pytest.raises(BlobDamaged):
        read_item(body[:-3], 1)
    with pytest.raises(StoreError, match="isn't a packed list"):
        item_count(content(to_blob([1], "items")))
    body[4] = 3
    with pytest.raises(StoreVersionError, match="format 3"):
        item_count(body)
