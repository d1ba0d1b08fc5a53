"""Training a decoder: a loop that goes on bit for bit from its checkpoint, and lent gradients."""
