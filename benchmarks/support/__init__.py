"""What the benchmarks share: games, peers, known answers, tables and bars."""
