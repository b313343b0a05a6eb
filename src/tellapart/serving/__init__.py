"""The web service: a bundle behind HTTP, safe by default. Needs no torch."""
