"""The dashboard: a page for people, and the gateway over which it makes the calls that everybody makes."""
