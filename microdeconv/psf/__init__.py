"""Point spread functions: computed from optics, or read from a file and made ready."""
