"""Recorded streams: reading bags, making the demo's bag, measuring what the memory renders against them."""
