"""Adapters: one file or folder per technology, each fulfilling ports of the core."""
