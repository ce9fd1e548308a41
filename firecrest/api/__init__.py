"""The floor that speaks HTTP: it translates, and knows nothing else.

``http`` holds what every generation of the API needs, ``v1`` the FirecREST v1 endpoints,
``events`` the stream. Adding an endpoint touches its family's module and its test.
"""
