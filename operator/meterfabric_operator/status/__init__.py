"""What the status of a fabric or sink says: its conditions, and the books that sinks are asked for."""
