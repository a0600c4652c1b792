"""A whole fabric as processes of one machine: what the operator does in a cluster, done in a folder."""
