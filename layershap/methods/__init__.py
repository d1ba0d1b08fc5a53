"""Published methods that a run can be compared with: what each asks for, and where it is."""
