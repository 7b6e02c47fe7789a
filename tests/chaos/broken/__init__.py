"""The product with one rule broken at a time, to prove that the checker would notice."""
