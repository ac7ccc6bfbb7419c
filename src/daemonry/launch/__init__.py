"""The processes of a start, and what they say to each other and to whoever waits."""
