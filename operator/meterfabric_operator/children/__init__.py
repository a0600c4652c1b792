"""What runs for fabrics and sinks: one module an object, each a function from facts to the object, nothing else."""
