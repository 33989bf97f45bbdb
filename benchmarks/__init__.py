"""What the docs claim, measured side by side: `python -m benchmarks`."""
