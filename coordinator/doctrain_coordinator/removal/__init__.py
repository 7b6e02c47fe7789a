"""What is removed for good: deleted tenants, and what is older than it is kept for."""
