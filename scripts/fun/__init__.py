"""Fun with Diffusion Models: the library behind the rules. Each package in it says what it holds; docs/architecture.md draws them."""
