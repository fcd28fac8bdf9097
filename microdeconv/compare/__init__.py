"""Several results of one stack held against one another: figures, a verdict in words, a page."""
