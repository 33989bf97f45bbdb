"""Saves that cost what changed: what is equal to what was last saved is a link to it."""
