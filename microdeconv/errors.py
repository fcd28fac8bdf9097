"""What can go wrong, in kinds: one for each exit code that a batch script can act on."""

from __future__ import annotations


class MicrodeconvError(Exception):
    """One line for a person: what, in which file or value, and what to do next.

    Parameters
    ----------
    message
        What is wrong, naming the file or the value.
    remedy
        What to type or change; empty when nothing helps.
    """

    exit_code = 70

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        """Give the message and the remedy as one line."""
        text = f"{self.message}: {self.remedy}" if self.remedy else self.message
        return " ".join(text.split())


class UsageError(MicrodeconvError):
    """An option or value that cannot be meant."""

    exit_code = 2


class DataError(MicrodeconvError):
    """A damaged, unsupported or impossible stack, PSF or model."""

    exit_code = 65


class NoInputError(MicrodeconvError):
    """An input that is missing or cannot be read."""

    exit_code = 66


class UnavailableError(MicrodeconvError):
    """A device, codec or extra that this machine does not have."""

    exit_code = 69


class MemoryShortError(MicrodeconvError):
    """Memory does not suffice even for the smallest tile."""

    exit_code = 71


class CannotCreateError(MicrodeconvError):
    """An output that exists already or cannot be made where it should be."""

    exit_code = 73


class WriteError(MicrodeconvError):
    """Writing began and did not succeed."""

    exit_code = 74


class RefusedError(MicrodeconvError):
    """Something that is not done for safety."""

    exit_code = 77


class ConfigError(MicrodeconvError):
    """A configuration file that cannot be used."""

    exit_code = 78
