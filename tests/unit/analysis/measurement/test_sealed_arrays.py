"""Sealed arrays survive as bytes, and any change of them is noticed."""

import numpy as np
import pytest

from preflens.analysis.measurement.sealed_arrays import digest, seal_arrays, unseal_arrays

ARRAYS = {"values": np.arange(6.0).reshape(2, 3), "names": np.array(["a", "b"])}


def test_arrays_survive():
    read = unseal_arrays(seal_arrays(ARRAYS, "part", b"run"), "part", b"run")
    assert read.keys() == ARRAYS.keys()
    assert all(np.array_equal(read[name], ARRAYS[name]) for name in ARRAYS)


@pytest.mark.parametrize(("name", "key"), [("other", b"run"), ("part", b"other")])
def test_another_part_or_run_is_refused(name, key):
    with pytest.raises(ValueError, match="does not match its seal"):
        unseal_arrays(seal_arrays(ARRAYS, "part", b"run"), name, key)


def test_a_changed_or_truncated_file_is_refused():
    content = seal_arrays(ARRAYS, "part", b"run")
    flipped = bytes([content[50] ^ 1])
    for damaged in (content[:50] + flipped + content[51:], content[:-1], content[100:], b""):
        with pytest.raises(ValueError, match="does not match its seal"):
            unseal_arrays(damaged, "part", b"run")


def test_a_digest_has_twenty_four_digits_and_tells_contents_apart():
    assert len(digest(b"a")) == 24
    assert digest(b"a") != digest(b"b")
