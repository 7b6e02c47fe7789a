"""The bytes of documents: where they come from, and where those that were uploaded, and what is made of them, are kept."""
