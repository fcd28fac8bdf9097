"""The end of a batch: what was in hand is given back, but for outputs that stand and were not told yet."""

from types import SimpleNamespace

from microdeconv.batch.claims import Claims
from microdeconv.batch.drive import Drive


def test_a_claim_stays_where_an_output_stands(tmp_path):
    put, begun = "put.tif", "begun.tif"
    (tmp_path / put).write_bytes(b"whole")
    claims = Claims(tmp_path / "claims")
    assert [claims.take(key) for key in (put, begun)] == [0, 0]
    units = [SimpleNamespace(key=key, told={"status": "begun"}) for key in (put, begun)]
    ended = SimpleNamespace(
        pool=SimpleNamespace(stop=lambda: units), common=SimpleNamespace(output=tmp_path), claims=claims,
        journal=SimpleNamespace(close=lambda: None),
    )  # fmt: skip
    Drive.stop(ended)
    assert claims.place(put).exists()
    assert not claims.place(begun).exists()
    assert [unit.told for unit in units] == [{}, {}]
