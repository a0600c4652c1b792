"""What runs for fabrics and sinks: one module an object, each a function from facts to the object, nothing else.

`fabric_children` says which of them there are.
"""
