"""What reads or rewrites tensors; each module is one verb, a function that returns a dataclass."""
