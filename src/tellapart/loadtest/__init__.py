"""Load on a service, and what it makes of it."""
