"""Saving while training goes on: hooks, the snapshot in memory, the thread that writes it."""
