"""Signals that ask the program to end: when they are heard, and where they have to wait."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
Handler = Callable[[int, FrameType | None], Any]


def hear(handler: Handler, before: dict[int, Any] | None = None) -> dict[int, Any]:
    """Have INT, TERM and HUP call a handler, but for those that the process was told to ignore (`nohup`, `&`).

    Parameters
    ----------
    handler
        As for `signal.signal`.
    before
        Filled with what handled them before, by number, each before it is replaced; a new one if None.

    Returns
    -------
    dict
        `before`, for `unhear`.
    """
    before = {} if before is None else before
    for number in ENDING:
        earlier = signal.getsignal(number) or signal.SIG_DFL
        if earlier != signal.SIG_IGN:
            before[number] = earlier
            signal.signal(number, handler)
    return before


def unhear(before: dict[int, Any]) -> None:
    """Give the signals back to what handled them."""
    for number, handler in before.items():
        signal.signal(number, handler)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Have INT, TERM and HUP wait until what is done here is done.

    For what is done on disk and then noted, and around libraries that hand work to threads: where a handler raises
    while such a library holds a lock, the lock stays closed, and whoever waits for its threads waits for ever.
    A mask would not do: it is one thread's, and a signal that another takes has its handler run in the main thread.
    """
    if threading.current_thread() is not threading.main_thread():  # no handler runs here
        yield
        return
    asked: list[int] = []
    before: dict[int, Any] = {}
    try:
        hear(lambda number, _: asked.append(number), before)
        yield
    finally:
        unhear(before)
        for number in dict.fromkeys(asked):
            signal.raise_signal(number)
