"""The residual streams of the dense and of the repaired model, and least squares between them."""
