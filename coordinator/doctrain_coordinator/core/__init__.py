"""Pure decisions: sharding, admission, states, charging. No I/O, clock, randomness or logging."""
