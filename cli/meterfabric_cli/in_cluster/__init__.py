"""Fabrics in a Kubernetes cluster, as a person with a kubeconfig sees them: objects first, what runs second."""
