"""Where records come in: HTTP and ZeroMQ on 127.0.0.1, both in front of one intake."""
