"""Files of weights from anywhere: read as numbers or refused, nothing in them is ever run."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from microdeconv.errors import DataError, NoInputError, RefusedError

if TYPE_CHECKING:
    from torch import Tensor

MOST = 2**28  # bytes of a file of weights; those that are shipped have about one million
SWELLING = 50  # times that a zip may grow when unpacked
PICKLED = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin", ".npz", ".npy", ".joblib")
CONVERT = (
    "only safetensors are read; where you trust it, load it with its own program and write its tensors with "
    "safetensors.torch.save_file"
)
AGAIN = "copy or download it again"

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Safetensors:
    """A file of weights whose header was read, and not yet its tensors.

    Attributes
    ----------
    path
        Where it came from.
    data
        All its bytes.
    shapes
        Of its tensors, as the header claims.
    told
        Its metadata.
    """

    path: Path
    data: bytes
    shapes: dict[str, Shape]
    told: dict[str, str]

    @property
    def sha256(self) -> str:
        """Of the whole file, hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()

    def tensors(self) -> dict[str, Tensor]:
        """Copy the tensors out, which must be finite.

        Raises
        ------
        DataError
            When sizes, places or values are not right.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            found = load(self.data)
        except (SafetensorError, ValueError, RuntimeError) as reason:
            raise _damaged(self.path, str(reason)) from None
        bad = [name for name, value in found.items() if not bool(value.isfinite().all())]
        if bad:
            raise DataError(f"{self.path}: NaN or infinite weights in {some(bad)}", "train it again, or take another")
        return found


def opened(path: Path) -> Safetensors:
    """Read a file of weights and check what its header claims.

    Raises
    ------
    NoInputError
        When it cannot be read.
    RefusedError
        For kinds of file that can hold commands: pickles, torch's and NumPy's archives.
    DataError
        When it is empty, cut, damaged, far too large or something else.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MOST + 1)
    except OSError as reason:
        raise NoInputError(f"{path}: cannot be read ({reason.strerror})", "check the file") from None
    if len(data) > MOST:
        raise DataError(
            f"{path}: more than {MOST:,} bytes, no network of this program is as large", "give another file"
        )
    _refuse_others(path, data)
    header = _header(path, data)
    told = header.pop("__metadata__", {})
    if not isinstance(told, dict) or not all(isinstance(value, str) for value in told.values()):
        raise _damaged(path, "its metadata are no texts")
    return Safetensors(path, data, {name: _shape(path, name, entry) for name, entry in header.items()}, told)


def some(names: list[str]) -> str:
    """The first of many names, and how many more there are."""
    return ", ".join(map(clean, names[:4])) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def clean(text: object, most: int = 80) -> str:
    """What a file says, short and without what would steer a terminal."""
    return "".join(letter for letter in str(text)[:most] if letter.isprintable())


def _refuse_others(path: Path, data: bytes) -> None:
    if not data:
        raise _damaged(path, "it is empty")
    if data.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        raise _of_zip(path, data)
    if data[8:9] == b"{":
        return
    if (data[0] == 0x80 and data[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")) or path.suffix.lower() in PICKLED:
        raise _refused(path)
    if path.suffix.lower() == ".safetensors":
        raise _damaged(path, "it has no header")
    raise DataError(f"{path}: not a safetensors file", "give the .safetensors file of a network")


def _of_zip(path: Path, data: bytes) -> RefusedError | DataError:
    """Why a zip is not read: torch's and NumPy's archives may hold pickles; only its list of names is looked at."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpacked = sum(one.file_size for one in archive.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OverflowError, struct.error):
        return _damaged(path, "a zip that was cut")
    if unpacked > SWELLING * len(data):
        return _damaged(path, f"a zip of {len(data):,} bytes that claims {unpacked:,} unpacked")
    return _refused(path)


def _header(path: Path, data: bytes) -> dict[str, Any]:
    length = int.from_bytes(data[:8], "little")
    if length > len(data) - 8:
        raise _damaged(path, f"a header of {length:,} bytes in a file of {len(data):,}")
    try:
        header = json.loads(data[8 : 8 + length], object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise _damaged(path, "its header cannot be read") from None
    if not isinstance(header, dict):
        raise _damaged(path, "its header is no table")
    return header


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError("a name occurs twice")
    return table


def _shape(path: Path, name: str, entry: Any) -> Shape:
    shape = entry.get("shape") if isinstance(entry, dict) else None
    if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
        raise _damaged(path, f"{clean(name)} has no shape")
    if entry.get("dtype") != "F32":
        raise DataError(f"{path}: {clean(name)} is {clean(entry.get('dtype'))}, not F32", "convert it to float32")
    return tuple(shape)


def _damaged(path: Path, why: str) -> DataError:
    return DataError(f"{path}: the weights are damaged, {why}", AGAIN)


def _refused(path: Path) -> RefusedError:
    return RefusedError(f"{path}: a pickle or an archive of such can run commands and is not opened", CONVERT)
