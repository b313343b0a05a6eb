"""Datasets, pixels and splits: Pillow, NumPy and scikit-learn, no torch."""
