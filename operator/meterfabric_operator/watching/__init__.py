"""What is known of the cluster: watches and lists in, the newest state and a queue of looks out."""
