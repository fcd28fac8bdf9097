"""Many stacks: a manifest, a journal of what is done, and processes that do the rest."""
