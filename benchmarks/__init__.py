"""Measurements. No product code, no asserted times; every ratio comes from one run."""
