"""The decoder itself: loading, its stack of layers, their calls and their halves."""
