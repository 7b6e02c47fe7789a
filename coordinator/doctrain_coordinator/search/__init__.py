"""The index as tenants see it: searches, deletes, and what both need."""
