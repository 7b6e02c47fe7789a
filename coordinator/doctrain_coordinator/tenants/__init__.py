"""Tenants, their plans and their keys."""
