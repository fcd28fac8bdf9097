"""What a batch has done, read again after anything (rows F12, F15)."""

import pytest

from microdeconv.batch.journal import Done, Journal, long_digest, short_digest
from microdeconv.errors import CannotCreateError

LINE = Done(1, "a.tif", 10, 20, "in", "par", "0.1.0", 30, 40, "out", 1.5)


def test_lines_come_back(tmp_path):
    one = Journal(tmp_path)
    one.append(LINE)
    one.append(LINE._replace(key="b.tif"))
    one.append(LINE._replace(seconds=9.0))
    one.close()
    done, ours = Journal(tmp_path).load()
    assert done == {"a.tif": LINE._replace(seconds=9.0), "b.tif": LINE._replace(key="b.tif")}
    assert ours == {"a.tif", "b.tif"}
    assert set(Journal(tmp_path).load({"b.tif"})[0]) == {"b.tif"}


@pytest.mark.parametrize("tail", [b'[1,"c.tif",', b"\x00" * 9, b"[]\n", b"\xff\xfe\n", b"{}\n"])
def test_f15_garbage_at_the_end_is_passed_over(tmp_path, tail):
    one = Journal(tmp_path)
    one.append(LINE)
    one.close()
    [path] = one.folder.glob("done-*")
    with path.open("ab") as file:
        file.write(tail)
    again = Journal(tmp_path)
    assert again.load()[0] == {"a.tif": LINE}
    assert again.broken == 1


def test_news_are_what_others_wrote_since(tmp_path):
    one, other = Journal(tmp_path), Journal(tmp_path)
    one.load()
    assert list(one.news()) == []
    other.append(LINE)
    assert list(one.news()) == [LINE]
    assert list(one.news()) == []


def test_f12_other_settings_are_refused_and_restart_begins_anew(tmp_path):
    Journal(tmp_path).settle({"iterations": "5"}, restart=False)
    one = Journal(tmp_path)
    one.settle({"iterations": "5"}, restart=False)
    one.append(LINE)
    with pytest.raises(CannotCreateError, match="iterations 5 then, 6 now.*--restart"):
        Journal(tmp_path).settle({"iterations": "6"}, restart=False)
    again = Journal(tmp_path)
    again.settle({"iterations": "6"}, restart=True)
    assert again.load() == ({}, {"a.tif"})


def test_digests_are_short():
    full = "98fb55846ac4a569eb10763155fe9bb18d9650726f3f23353d300fb67d876bb1"
    assert len(short_digest(full)) == 22
    assert long_digest(short_digest(full)) == full[:32]
