"""The diffusion process: noise schedule, sampling steps, guidance, views, and the tasks built on them."""
