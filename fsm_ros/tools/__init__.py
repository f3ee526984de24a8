"""Command line tools beside the node: they play to it, ask it, and document it."""
