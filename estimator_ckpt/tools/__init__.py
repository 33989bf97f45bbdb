"""What people do with checkpoints; each module is one tool, a function that returns a dataclass."""
