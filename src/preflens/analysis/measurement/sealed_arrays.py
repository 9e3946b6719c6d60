"""Arrays as bytes with a seal: a hash of their content, of the part they belong to, and of its run."""

from collections.abc import Mapping
from hashlib import blake2b
from io import BytesIO
from zipfile import ZipFile

import numpy as np

Arrays = Mapping[str, np.ndarray]
_SEAL = 64  # hexadecimal digits


def seal_arrays(arrays: Arrays, name: str, key: bytes) -> bytes:
    """Write arrays as a `.npz` file with a seal: its comment, the last bytes, is a hash of content, name and run.

    Args:
        arrays: arrays by name.
        name: name of the part.
        key: identifies the run, at most 64 bytes.

    Returns:
        Bytes of the file.
    """
    buffer = BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    with ZipFile(buffer, "a") as archive:
        archive.comment = bytes(_SEAL)
    body = buffer.getvalue()[:-_SEAL]
    return body + _seal(body, name, key)


def unseal_arrays(content: bytes, name: str, key: bytes) -> Arrays:
    """Read the arrays that `seal_arrays` wrote.

    Args:
        content: bytes of the file.
        name: name of the part.
        key: identifies the run.

    Returns:
        The arrays by name.

    Raises:
        ValueError: the seal is not the one of this content, part and run.
    """
    body, seal = content[:-_SEAL], content[-_SEAL:]
    if seal != _seal(body, name, key):
        raise ValueError("its content does not match its seal")
    with np.load(BytesIO(content), allow_pickle=False) as arrays:
        return {entry: arrays[entry] for entry in arrays.files}


def digest(content: bytes) -> str:
    """Hash bytes, for names of parts.

    Args:
        content: the bytes.

    Returns:
        24 hexadecimal digits.
    """
    return blake2b(content, digest_size=12).hexdigest()


def _seal(body: bytes, name: str, key: bytes) -> bytes:
    return blake2b(name.encode() + body, digest_size=_SEAL // 2, key=key).hexdigest().encode()
