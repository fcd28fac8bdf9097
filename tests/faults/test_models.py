"""Rows H of the fault catalogue: files of weights that are damaged, false or meant to harm."""

import hashlib
import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from conftest import ROOT
from networks import TINY, card_for, joined, parted, tiny

from microdeconv.cli.app import main
from microdeconv.errors import DataError, MicrodeconvError, NoInputError, RefusedError, UsageError
from microdeconv.learnt import weights as loading
from microdeconv.learnt.card import card_path
from microdeconv.learnt.untrusted import MOST
from microdeconv.learnt.weights import load_model, save_model

FIRST = "integrate.first.weight"


class Command:
    """Runs a command when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch '{self.mark}'",)


@pytest.fixture
def good(tmp_path):
    """A whole file of weights with its card."""
    path = tmp_path / "good.safetensors"
    save_model(path, tiny(), card_for())
    return path


@pytest.fixture
def alone(good):
    """A whole file of weights that no card pins, to be changed."""
    card_path(good).unlink()
    return good


def refusal(path, kind: type[MicrodeconvError], code: int, capsys) -> str:
    """What is said of a file, as a function and on the command line."""
    with pytest.raises(kind) as caught:
        load_model(path)
    assert type(caught.value) is kind
    assert str(path) in str(caught.value)
    assert caught.value.remedy
    assert main(["models", "show", str(path)]) == code == caught.value.exit_code
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [f"microdeconv: {caught.value}"]
    return str(caught.value)


def edited(path, change):
    header, body = parted(path.read_bytes())
    path.write_bytes(joined(*(change(header, body) or (header, body))))


@pytest.mark.parametrize("protocol", [0, 2, 4, "torch", "legacy torch"])
@pytest.mark.parametrize("ending", [".pt", ".safetensors"])
def test_h1_a_pickle_that_runs_a_command(tmp_path, capsys, protocol, ending):
    path, mark = tmp_path / f"evil{ending}", tmp_path / "ran"
    if isinstance(protocol, int):
        path.write_bytes(pickle.dumps(Command(mark), protocol))
    else:
        torch.save({"weights": Command(mark)}, path, _use_new_zipfile_serialization=protocol == "torch")
    if protocol == 0 and ending == ".safetensors":
        refusal(path, DataError, 65, capsys)  # text, like any other
    else:
        assert "safetensors" in refusal(path, RefusedError, 77, capsys)
    assert not mark.exists()


@pytest.mark.parametrize("kind", ["state", "legacy state", "module", "npz of objects", "npz", "npy of objects"])
def test_h2_other_programs_files(tmp_path, capsys, kind):
    path = tmp_path / ("a.npz" if "npz" in kind else "a.npy" if "npy" in kind else "a.pth")
    if kind.startswith("npz"):
        np.savez(path, a=np.array([{}], object) if "objects" in kind else np.ones(3))
    elif kind.startswith("npy"):
        np.save(path, np.array([{}], object))
    elif kind == "module":
        torch.save(torch.nn.Linear(2, 2), path)
    else:
        torch.save(tiny().state_dict(), path, _use_new_zipfile_serialization=kind == "state")
    assert "write its tensors with safetensors.torch.save_file" in refusal(path, RefusedError, 77, capsys)


def test_h3_an_empty_file(tmp_path, capsys):
    for name in ("a.pt", "a.safetensors"):
        path = tmp_path / name
        path.touch()
        assert "empty" in refusal(path, DataError, 65, capsys)


@pytest.mark.parametrize("share", [0.0001, 0.001, 0.1, 0.5, 0.99, 0.99999])
def test_h3_a_cut_file(alone, capsys, share):
    data = alone.read_bytes()
    alone.write_bytes(data[: max(1, int(share * len(data)))])
    assert "damaged" in refusal(alone, DataError, 65, capsys)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_h3_a_cut_archive(tmp_path, capsys, share):
    path = tmp_path / "a.pt"
    torch.save(tiny().state_dict(), path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert "cut" in refusal(path, DataError, 65, capsys)


@pytest.mark.parametrize("length", [2**62, 2**64 - 1, 10**9])
def test_h4_a_header_larger_than_the_file(alone, capsys, length):
    alone.write_bytes(struct.pack("<Q", length) + alone.read_bytes()[8:])
    assert f"{length:,} bytes" in refusal(alone, DataError, 65, capsys)


def offsets(header, *, to):
    header[FIRST]["data_offsets"] = to


def overlap(header, body):
    header["integrate.first.bias"]["data_offsets"] = [0, 4 * TINY.widths[0]]


def halved(header, body):
    header[FIRST]["shape"][0] //= 2


@pytest.mark.parametrize(
    "change",
    [
        overlap,
        lambda header, body: offsets(header, to=[0, 2**62]),
        lambda header, body: offsets(header, to=[-8, 8]),
        lambda header, body: offsets(header, to=[8, 0]),
        lambda header, body: offsets(header, to="all"),
        lambda header, body: (header, body + b"more"),
        lambda header, body: header[FIRST].pop("data_offsets") and None,
        lambda header, body: header[FIRST].update(shape=[-4, 10, 3, 3]),
        lambda header, body: header[FIRST].update(shape=[True, 10, 3, 3]),
        lambda header, body: header[FIRST].update(shape="big"),
        lambda header, body: header[FIRST].update(dtype="F64"),
        lambda header, body: header[FIRST].update(dtype=["F32"]),
        lambda header, body: header.update({FIRST: 3}),
        lambda header, body: header.update({"__metadata__": {"format": 3}}),
        lambda header, body: header.update({"__metadata__": "none"}),
        halved,
    ],
    ids=["overlap", "far", "negative", "backwards", "words", "surplus", "placeless", "below zero", "truth", "word",
         "doubles", "list", "number", "metadata", "no metadata", "shape"],
)  # fmt: skip
def test_h4_false_headers(alone, capsys, change):
    edited(alone, change)
    refusal(alone, DataError, 65, capsys)


@pytest.mark.parametrize("text", [b"[1, 2]", b"{" * 50000, b'{"a": 1, "a": 2}', b"{\xff", b'{"a": NaN}', b"{}"])
def test_h4_headers_that_are_none(alone, capsys, text):
    alone.write_bytes(struct.pack("<Q", len(text)) + text)
    refusal(alone, DataError, 65, capsys)


@pytest.mark.parametrize("shape", [[10**12], [10**6, 10**6], [2**40, 2**40], [10**12, 0], [10**300]])
def test_h5_huge_tensors_are_refused_before_anything_is_copied(alone, capsys, monkeypatch, shape):
    edited(alone, lambda header, body: header[FIRST].update(shape=shape))
    monkeypatch.setattr(loading.Safetensors, "tensors", lambda self: pytest.fail("tensors were copied"))
    assert f"misshapen: {FIRST}" in refusal(alone, DataError, 65, capsys)


def test_h5_a_pickle_of_a_tensor_of_stride_zero(tmp_path, capsys):
    path = tmp_path / "huge.pt"
    torch.save({"a": torch.zeros(1).expand(10**12)}, path)
    assert path.stat().st_size < 4000
    refusal(path, RefusedError, 77, capsys)  # like every pickle: it is never looked into


@pytest.mark.parametrize(
    "change", [{"widths": [10**9, 8, 8]}, {"stages": 10**9, "shared": False}, {"scales": 0}, {"scales": 99}]
)
def test_h5_huge_architectures(alone, capsys, change):
    def enlarge(header, body):
        told = header["__metadata__"]
        told["architecture"] = json.dumps(json.loads(told["architecture"]) | change)

    edited(alone, enlarge)
    assert next(iter(change)) in refusal(alone, DataError, 65, capsys)


@pytest.mark.parametrize("ending", [".pt", ".safetensors"])
def test_h6_a_zip_bomb(tmp_path, ending):
    path = tmp_path / f"bomb{ending}"
    archive = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9)
    with archive, archive.open("archive/data.pkl", "w") as part:
        for _ in range(600):
            part.write(bytes(10**6))
    assert path.stat().st_size < 10**6
    code = f"from microdeconv.cli.app import main; raise SystemExit(main(['models', 'show', {str(path)!r}]))"
    limited = f'ulimit -v 4000000; exec {sys.executable} -c "{code}"'
    done = subprocess.run(
        ["bash", "-c", limited], capture_output=True, text=True, cwd=tmp_path, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 65, done.stderr
    assert "claims 600,000," in done.stderr


def test_h6_a_file_far_too_large(tmp_path, capsys):
    path = tmp_path / "a.safetensors"
    path.touch()
    os.truncate(path, 2 * MOST)
    assert "no network of this program" in refusal(path, DataError, 65, capsys)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_h7_weights_that_are_not_finite(alone, capsys, value):
    def spoil(header, body):
        values = np.frombuffer(body, np.float32).copy()
        values[header[FIRST]["data_offsets"][0] // 4 + 1] = value
        return header, values.tobytes()

    edited(alone, spoil)
    assert f"NaN or infinite weights in {FIRST}" in refusal(alone, DataError, 65, capsys)


def test_h8_keys_are_listed(alone, capsys):
    def rename(header, body):
        header["enlarge.weights"] = header.pop("enlarge.weight")
        header[FIRST]["shape"] = header[FIRST]["shape"][::-1]

    edited(alone, rename)
    said = refusal(alone, DataError, 65, capsys)
    assert "lacking: enlarge.weight; unknown: enlarge.weights; misshapen: integrate.first.weight 3 x 3 x 10 x 4" in said


def test_h8_of_many_keys_some_are_named(alone, capsys):
    edited(alone, lambda header, body: ({"__metadata__": header["__metadata__"]}, b""))
    said = refusal(alone, DataError, 65, capsys)
    assert " more" in said
    assert len(said) < 500


def test_h8_names_do_not_steer_the_terminal(alone, capsys):
    edited(alone, lambda header, body: header.update({"\x1b[2J" + 10**4 * "a": header.pop(FIRST)}))
    said = refusal(alone, DataError, 65, capsys)
    assert "\x1b" not in said
    assert len(said) < 500


@pytest.mark.parametrize("version", ["2", "999", "", "one", "-1", "1.5"])
def test_h9_another_version(alone, capsys, version):
    edited(alone, lambda header, body: header["__metadata__"].update(version=version))
    assert "update microdeconv" in refusal(alone, DataError, 65, capsys)


def test_h9_another_format_and_unknown_switches(alone, capsys):
    edited(alone, lambda header, body: header["__metadata__"].update(architecture='{"wings": 2}'))
    assert "wings" in refusal(alone, DataError, 65, capsys)
    edited(alone, lambda header, body: header["__metadata__"].update(architecture='{"unit": "best"}'))
    assert "best" in refusal(alone, DataError, 65, capsys)
    edited(alone, lambda header, body: header["__metadata__"].update(architecture="{"))
    assert "architecture" in refusal(alone, DataError, 65, capsys)
    edited(alone, lambda header, body: header["__metadata__"].update(format="other"))
    assert "no network of this program" in refusal(alone, DataError, 65, capsys)


def test_h10_weights_that_are_not_those_of_the_card(good, capsys):
    data = bytearray(good.read_bytes())
    data[-5] ^= 1
    good.write_bytes(data)
    found = hashlib.sha256(data).hexdigest()[:12]
    assert found in refusal(good, RefusedError, 77, capsys)


def test_h10_damaged_cards(good, capsys):
    card = json.loads(card_path(good).read_text())
    card_path(good).write_text(json.dumps(card | {"architecture": {}}))
    assert "another architecture" in refusal_of_card(good, capsys)
    false = [{"training": []}, {"training": {"recipe": 3}}, {"training": {"voxel_um": [1]}}, {"name": 5}]
    for text in ("{", "[]", "", "[" * 10**5, " " * 2**21, *(json.dumps(card | one) for one in false)):
        card_path(good).write_text(text)
        assert "the card is damaged" in refusal_of_card(good, capsys)


def refusal_of_card(path, capsys):
    with pytest.raises(DataError) as caught:
        load_model(path)
    assert main(["models", "show", str(path)]) == 65
    assert capsys.readouterr().err == f"microdeconv: {caught.value}\n"
    assert str(card_path(path)) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "address",
    ["https://example.org/a.safetensors", "hf://a/b", "s3://bucket/a.safetensors", "FTP://a/b", "file:///a/b"],
)
def test_h11_an_address(capsys, address):
    assert "download it yourself and give the file" in refusal(address, UsageError, 2, capsys)


def test_h11_nothing_connects(tmp_path, good):
    code = (
        "import sys\n"
        "sys.addaudithook(lambda event, a: event in ('socket.connect', 'socket.getaddrinfo') and sys.exit(99))\n"
        "from microdeconv.cli.app import main\n"
        "from microdeconv.learnt.weights import load_model\n"
        f"load_model({str(good)!r})\n"
        "raise SystemExit(main(['models', 'show', 'https://example.org/a.safetensors']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "download it yourself" in done.stderr


def test_files_that_are_none(tmp_path, capsys):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path in (tmp_path / "none.safetensors", tmp_path, tmp_path / "fifo", tmp_path / "loop", tmp_path / ("a" * 300)):
        refusal(path, NoInputError, 66, capsys)


def test_flipped_headers_never_do_more_than_be_refused(alone):
    data = alone.read_bytes()
    length = 8 + struct.unpack("<Q", data[:8])[0]
    rng = np.random.default_rng(5)
    for _ in range(200):
        spoilt = bytearray(data)
        for place in rng.integers(0, length, 3):
            spoilt[place] ^= 1 << int(rng.integers(8))
        alone.write_bytes(spoilt)
        try:
            load_model(alone)
        except DataError as reason:
            assert reason.remedy


@pytest.mark.parametrize(("kind", "code"), [("pickle", 77), ("cut", 65), ("flipped", 77), ("address", 2), ("none", 66)])
def test_run_refuses_a_model_before_anything_is_computed(good, tmp_path, monkeypatch, capsys, kind, code):
    model, mark, output = str(good), tmp_path / "ran", tmp_path / "out.tif"
    if kind == "pickle":
        good.write_bytes(pickle.dumps(Command(mark)))
    elif kind == "cut":
        good.write_bytes(good.read_bytes()[:-100])
        card_path(good).unlink()
    elif kind == "flipped":
        good.write_bytes(good.read_bytes()[:-1] + b"\x01")
    elif kind == "address":
        model = "https://example.org/a.safetensors"
    else:
        model += "x"
    monkeypatch.setattr("microdeconv.pipeline.execute", lambda *_, **__: pytest.fail("work began"))
    data = ROOT / "sample_data"
    words = [
        data / "synthetic.tif",
        "--psf",
        data / "bead_psf.tif",
        "--method",
        "learnt",
        "--model",
        model,
        "-o",
        output,
    ]
    assert main(["run", *map(str, words)]) == code
    assert model in capsys.readouterr().err
    assert not output.exists()
    assert not mark.exists()
