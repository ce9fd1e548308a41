"""SSH: certificates, pooled connections, and file transfer over them.

Promises: a connection is made only with a fresh short-lived certificate for one principal
and only to a host whose key is known; every failure of asyncssh leaves this floor as
``SystemUnavailable`` or ``AccessDenied``, or as a ``CommandFailed`` of the file transfer;
a cancelled command is ended on the machine. It decides nothing about who may do what.
"""
