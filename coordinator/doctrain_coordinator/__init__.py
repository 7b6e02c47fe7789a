"""The coordinator: the tenants', workers' and operators' services, and the dispatcher that one of them leads."""
