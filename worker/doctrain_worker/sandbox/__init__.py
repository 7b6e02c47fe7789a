"""Children for untrusted work, and the guardian that ends them."""
