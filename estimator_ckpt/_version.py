"""The version of the package, in a module that `setup.py` can read without an import."""

__version__ = "0.2.0"
