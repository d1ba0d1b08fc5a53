"""Published methods that a run can be compared with: found where they are declared, and run."""
