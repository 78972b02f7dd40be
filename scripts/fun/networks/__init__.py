"""The U-Nets that this project trains on MNIST."""
