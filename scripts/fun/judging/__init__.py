"""How good pictures are: a digit classifier, distances, CLIP."""
