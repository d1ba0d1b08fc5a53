"""Parts of the benchmarks of measuring: counted work, plain loops, simulated workers."""
