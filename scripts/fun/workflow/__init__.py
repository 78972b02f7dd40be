"""Python for the rules and their jobs: log, refusals, experiments, the parts of a cascade. Needs no torch."""
