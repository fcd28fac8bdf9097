"""A small part of `tests/measure/psf_check.py`: wrong PSFs are flagged and right ones are not."""

import importlib.util

import pytest
from conftest import ROOT


@pytest.fixture(scope="module")
def measure():
    spec = importlib.util.spec_from_file_location("psf_check", ROOT / "tests" / "measure" / "psf_check.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_rates_in_two_dimensions(measure):
    found = [
        (case.wrong, any(one.warning for one in case.found))
        for case in measure.cases(
            ("filaments", "shells"), (200,), only="2-D", faults=("right", "x 0.7", "x 1.3", "3 off")
        )
    ]
    right = [flagged for wrong, flagged in found if not wrong]
    wrong = [flagged for wrong, flagged in found if wrong]
    assert len(right) == 6
    assert len(wrong) == 18
    assert sum(right) == 0
    assert sum(wrong) >= 0.9 * len(wrong)
