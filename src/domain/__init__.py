"""The core: values, rules and the ports it asks of the outside world. No I/O, clock, randomness or framework."""
