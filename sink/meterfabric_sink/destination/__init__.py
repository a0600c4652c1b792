"""Where records end: one module per destination, all behind `base.Destination`.

A destination holds two things that it changes together or not at all: the records, and the evidence that they are the
right ones (positions, batches with checkpoint and receipt, notices, certificates).
"""
