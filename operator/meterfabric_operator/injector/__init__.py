"""The webhook that gives pods their sidecars where no policy of the API server's does: it is asked, and answers."""
