"""How many relays there are to be: HorizontalPodAutoscaler's algorithm (autoscaling/v2) on how busy they are.

`recommending` computes a number from what relays tell, `limiting` holds it back, `deciding` puts both together; these
act on nothing. `asking` asks relays, `autoscaler` does all of it again and again and writes the outcome.
"""
