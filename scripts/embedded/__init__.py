"""The demo: everything a gateway needs around it, without root and without installed daemons.

An SSH server (`sshd`), a Redis (`redis`) and an object store (`swift`, with
the form uploads of `s3form` and `s3post`) run as processes of the invoking
user on loopback; `demo` starts them and the gateway. None of it is part of
the product: `firecrest` never imports this package, nor does this package
import `firecrest`.

Run the modules as `python -P -m scripts.embedded.<name>` with the checkout on
PYTHONPATH. Without -P, `redis.py` and `swift.py` could hide the libraries
they are named after.
"""
