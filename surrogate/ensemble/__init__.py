"""Unlike learners of one game, mixed by what they predict out of fold."""
