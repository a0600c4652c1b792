"""The delivery state machines of producer, relay and sink.

Each is handed messages, the time and facts about what is stored, and returns effects; none touches a socket, a clock, a
disk or randomness of its own. The components are shells around them, and the simulator is another shell around the very
same code.

producer: `producer` in front of `sending`, `outcome`, `routes` and `upkeep`, over `log`, `cursor` and `link`; its
    effects are in `effects`.
relay: `relay` between `lending` (with `credit`) and `workers` (with `fair`); its effects are in `relayed`.
sink: `sink` with `examine` (with `credential` and `permit`) and `appending`; what it stores is in `stored`, what goes
    in and comes out in `verdict`.
all: `answer`, `rendezvous`, `settings`.
"""
