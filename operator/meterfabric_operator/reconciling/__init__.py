"""One look at a fabric, a sink, a request or the webhook: what differs from what is wanted is applied, and told."""
