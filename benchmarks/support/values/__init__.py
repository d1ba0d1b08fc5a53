"""Parts of the benchmark of values: cells, reports, the learner behind them."""
