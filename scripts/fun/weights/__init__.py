"""A cascade's weights: where they come from, whether they fit, and IF's upscaler, safety checker and watermark."""
