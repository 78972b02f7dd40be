"""Why it works: what the figures of the ideas are computed from."""
