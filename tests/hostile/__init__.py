"""Documents that mean harm, or are broken: what becomes of each, and of the documents after it."""
