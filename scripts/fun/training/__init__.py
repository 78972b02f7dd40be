"""Training a network: the trainer and its optimisers."""
