"""The other side of the event stream: a client for people and scripts.

It speaks to a gateway over the network like anybody else, shares nothing with the server and
shows how the stream is meant to be used.
"""
