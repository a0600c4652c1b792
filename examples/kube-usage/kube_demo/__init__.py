"""`make demo`, in parts: where it runs, what it applies, what it shows."""
