"""Whether pods that meter have their sidecars: proven on trial, told where one lacks it, put right by eviction."""
