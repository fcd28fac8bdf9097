"""The learnt method: a small network that is given the PSF's own work, trained on simulated scenes, and a guard."""
