"""An example agent: what each pod of a node consumes, read from its kubelet and sent through an injected sidecar."""
