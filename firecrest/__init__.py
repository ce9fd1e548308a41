"""FirecREST: a REST and event gateway between the web and supercomputers."""

__version__ = "0.1.0"
