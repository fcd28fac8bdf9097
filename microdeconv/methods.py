"""The registry of methods: a new one is its file and its line here."""

from __future__ import annotations

from typing import Any

from microdeconv.classical.identity import Identity, identity
from microdeconv.classical.richardson_lucy import RichardsonLucy, richardson_lucy
from microdeconv.classical.total_variation import WEIGHTS, TotalVariation, total_variation
from microdeconv.classical.wiener import RATIOS, Wiener, wiener
from microdeconv.errors import UsageError
from microdeconv.learnt.method import Learnt, check, learnt, prepare, through
from microdeconv.options import nearest, options_of
from microdeconv.problem import Method

RL = Method("rl", richardson_lucy, RichardsonLucy, floats=(8.0, 8.0, 6.0))
METHODS = {
    method.name: method
    for method in (
        RL,
        Method(
            "rl-tv",
            total_variation,
            TotalVariation,
            searched=("regularisation", WEIGHTS),
            floats=(9.0, 12.0, 7.0),
        ),
        Method(
            "wiener",
            wiener,
            Wiener,
            iterative=False,
            margin=1.0,
            searched=("noise_to_signal", RATIOS),
            halo=80,
            room=20,
        ),
        Method(
            "learnt",
            learnt,
            Learnt,
            iterative=False,
            companion=RL,
            prepare=prepare,
            halo=48,
            align=16,
            kernel_free=True,
            floats=(7.0, 8.0, 35.0),
            block=(150.0, 2_000_000),  # `network.BLOCK`, which would wake torch
            base=40_000_000,
            check=check,
            through=through,
        ),
        Method("identity", identity, Identity, iterative=False, margin=0.0, keeps_counts=True),
    )
}


def method_named(name: str) -> Method:
    """Find a method by its name.

    Raises
    ------
    UsageError
        When there is none; it names the nearest.
    """
    if name in METHODS:
        return METHODS[name]
    close = nearest(name, METHODS)
    raise UsageError(f"no method {name!r}", f"did you mean {close}?" if close else f"choose from {', '.join(METHODS)}")


def parameters_of(method: Method, **given: Any) -> Any:
    """Make a method's parameters from some given by name.

    Raises
    ------
    UsageError
        For a name that the method lacks.
    """
    known = {o.field for o in options_of(method.parameters)}
    for name in given:
        if name not in known:
            close = nearest(name, known)
            remedy = f"did you mean {close}?" if close else f"it takes {', '.join(sorted(known)) or 'none'}"
            raise UsageError(f"{name} does not apply to method {method.name}", remedy)
    return method.parameters(**given)
