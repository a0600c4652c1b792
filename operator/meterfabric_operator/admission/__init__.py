"""What the API server does to pods and certificate requests by policies of ours."""
