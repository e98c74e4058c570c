"""What the benchmark runs, and how often: a frozen config for each scale."""
