"""What the package costs, in time and memory: one module a benchmark."""
