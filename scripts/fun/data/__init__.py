"""Reading and writing data: tensors, pictures, MNIST, prompts and their embeddings."""
