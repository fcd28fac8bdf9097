"""What a stack is known by, file or folder."""

import os
import subprocess
import time

import pytest

from microdeconv.io.stacks import digest, identity


def test_of_a_file_it_is_size_and_time(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"12345")
    os.utime(tmp_path / "a.tif", ns=(1, 10**18 + 7))
    (tmp_path / "link").symlink_to("a.tif")
    assert identity(tmp_path / "a.tif") == identity(tmp_path / "link") == (5, 10**18 + 7)
    with pytest.raises(FileNotFoundError):
        identity(tmp_path / "none")


def test_of_a_folder_all_bytes_and_the_newest_time(tmp_path):
    folder = tmp_path / "a.ome.zarr"
    for number, name in enumerate(("zarr.json", "0/zarr.json", "0/c/0/0", "0/c/0/1")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x" * (number + 1))
        os.utime(folder / name, ns=(0, 10**18 + (5 if number == 2 else number)))
    (folder / "link").symlink_to("zarr.json")
    assert identity(folder) == (10, 10**18 + 5)
    (folder / "0/c/0/1").unlink()
    assert identity(folder) == (6, 10**18 + 5)


def test_the_digest_of_a_folder_is_what_a_shell_gives(tmp_path):
    folder = tmp_path / "a.ome.zarr"
    (folder / "0").mkdir(parents=True)
    for name in ("zarr.json", "0/zarr.json", "0/a"):
        (folder / name).write_text(name)
    line = "find . -type f | LC_ALL=C sort | xargs sha256sum | sha256sum"
    told = subprocess.run(["sh", "-c", line], cwd=folder, capture_output=True, text=True, check=True).stdout
    assert digest(folder) == told.split()[0]


def test_thousands_of_chunks_are_looked_at_quickly(tmp_path):
    for number in range(2000):
        (tmp_path / f"{number}").touch()
    began = time.process_time()
    assert identity(tmp_path)[0] == 0
    assert time.process_time() - began < 0.5
