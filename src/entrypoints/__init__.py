"""Entrypoints: the ways in. They translate and delegate; `settings` and `wiring` put the rest together."""
