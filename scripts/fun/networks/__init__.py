"""The U-Nets: DeepFloyd IF's, and those that this project trains on MNIST."""
