"""The delivery state machines of producer, relay and sink.

Each is handed messages, the time and facts about what is stored, and returns effects; none touches a socket, a clock, a
disk or randomness of its own. The components are shells around them, and the simulator is another shell around the very
same code.
"""
