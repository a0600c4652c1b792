"""An example meter: what each user of this machine consumes, read from /proc and sent through a sidecar."""
