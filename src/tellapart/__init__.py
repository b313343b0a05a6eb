"""Tells images apart."""

__version__ = "0.1.0"
