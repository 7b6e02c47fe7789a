"""Tenants, their plans and their keys; the bytes kept for them, what they used, and the audit log."""
