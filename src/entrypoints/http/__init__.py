"""The HTTP door: it translates and delegates."""
