"""Deconvolution of fluorescence-microscopy stacks."""

__version__ = "0.1.0"
