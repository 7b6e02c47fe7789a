"""What the guardian runs: the standard library alone, as it must start fast and stay small."""
