"""Children for untrusted work, and the guardian that ends them: a folder for each of the three processes, and what they share."""
