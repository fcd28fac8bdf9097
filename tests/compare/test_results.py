"""What is made of one variant."""

import pytest

from microdeconv.camera import Camera
from microdeconv.compare.results import held_to
from microdeconv.learnt.method import Learnt
from microdeconv.settle import Settings


@pytest.mark.parametrize(
    ("guard", "trust"),
    [
        ({"trust": 0.37, "chi_square": 1.1}, 0.37),
        ({"trust": 0.0}, 0.0),
        ({"trust": "none possible"}, "auto"),
        ({}, "auto"),
    ],
    ids=["a blend", "the classical result", "no PSF", "no guard"],
)
def test_halves_take_of_the_network_what_the_whole_took(guard, trust):
    settings = Settings(Camera(), 10.0, 60.0, 8, Learnt(), {})
    held = held_to(settings, guard)
    assert held.parameters.trust == trust
    assert held.iterations == settings.iterations
