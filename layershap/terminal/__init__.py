"""What a person sees and hears of a run while it goes on, and how it is stopped."""
