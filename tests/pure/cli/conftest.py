"""The command line as a function, for the tests of this folder."""

from command_line import command, on_terminal

__all__ = ["command", "on_terminal"]
