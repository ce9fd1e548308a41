"""From the text of a header to a :class:`~firecrest.model.principal.Principal`.

What this floor promises: nobody gets past it without a token that one of the configured
issuers signed and whose times, audience and scope fit; a user name that leaves it is safe
as the principal of a certificate, as a path component and as a command argument; a refusal
is always :class:`~firecrest.errors.Unauthenticated` with the body of the contract, whatever
was sent; and no token appears in a log, an exception or a ``repr``.

Contract: auth §1-§4.
"""
