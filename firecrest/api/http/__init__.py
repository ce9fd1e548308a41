"""From a request to a handler's typed values, and from its value to a response."""
