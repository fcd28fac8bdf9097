"""Deconvolution methods that learn nothing: one file each."""
