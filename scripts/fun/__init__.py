"""Fun with Diffusion Models: the library behind the rules. Each room says what is in it; docs/architecture.md draws them."""
