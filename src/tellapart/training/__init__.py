"""Backbones, features, heads, fine-tuning and export: the only part that imports torch."""
