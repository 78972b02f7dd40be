"""Reading and writing data: tensors, pictures, MNIST, prompts and their embeddings. What the rules must know without torch:
the files of a model, the timesteps of a walk."""
