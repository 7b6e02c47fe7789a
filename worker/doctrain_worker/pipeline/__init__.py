"""The stages a document passes: fetch, read, chunk, embed, index."""
