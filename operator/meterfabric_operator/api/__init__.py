"""The API server: how it is asked, which of several replicas may write, and what is told there as events."""
