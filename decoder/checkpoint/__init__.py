"""The files of a checkpoint: read piece by piece, brought in layer by layer, written whole."""
