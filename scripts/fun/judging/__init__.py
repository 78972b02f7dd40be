"""How good pictures are: a digit classifier, distances, CLIP, the generator itself."""
