"""The keys of fabrics, sinks and the webhook: made, kept in Secrets, renewed, and what is signed by them."""
