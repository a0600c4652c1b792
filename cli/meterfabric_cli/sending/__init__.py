"""Sending files of events: lines numbered, sent in batches, sent again until answered, refused ones told by line."""
