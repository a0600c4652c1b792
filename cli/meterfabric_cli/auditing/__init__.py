"""The audit of a sink from its stored bytes alone: each log first, then what they say of each other, then the books."""
